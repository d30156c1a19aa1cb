from absl.testing import absltest
from matplotlib import colors
import numpy as np

from tflm.evaluation import figures
from tflm.training import pictures

NAN = float("nan")


def _dots(axis):
    """Positions (x, y) and RGB of the filled dots drawn on an axis."""
    for collection in axis.collections:
        faces = collection.get_facecolors()
        if len(faces):
            return collection.get_offsets(), faces[:, :3]
    raise AssertionError("no dots")


class LandmarksTest(absltest.TestCase):
    def test_dots_are_in_pixels_of_the_image_and_in_their_colours(self):
        images = np.zeros([1, 65, 65, 3])
        landmarks = np.array([[[-1.0, 0.5], [0.0, 1.0]]])  # (y, x)

        figure = figures.landmarks_on_images(images, landmarks, "title")

        positions, rgb = _dots(figure.axes[0])
        np.testing.assert_allclose(positions, [[48, 0], [64, 32]])  # (x, y)
        np.testing.assert_allclose(rgb, pictures.palette(2), atol=1e-6)


class KeypointsTest(absltest.TestCase):
    def test_missing_annotation_is_not_drawn(self):
        keypoints = figures.Keypoints(
            regressed=np.array([[[0.0, 0.1], [0.5, 0.5]]] * 2),
            annotated=np.array(
                [[[0.0, 0.0], [NAN, NAN]], [[NAN, NAN], [NAN, NAN]]]
            ),
            errors_px=np.array([[6.35, NAN], [NAN, NAN]]),
            names=["head", "hand"],
        )

        figure = figures.landmarks_on_images(
            np.zeros([2, 64, 64, 3]), np.zeros([2, 3, 2]), "title", keypoints
        )

        # An image's landmarks, its keypoints, the next image's landmarks, ...
        _, first, _, second, landmark_key, keypoint_key = figure.axes
        self.assertLen(_dots(first)[0], 1)
        self.assertLen(first.lines, 1)
        self.assertEqual(first.get_title(), "6.3 px")
        self.assertEmpty(second.collections)
        self.assertEqual(second.get_title(), "not annotated")
        names = [
            [text.get_text() for text in axis.get_legend().get_texts()]
            for axis in (landmark_key, keypoint_key)
        ]
        self.assertEqual(names[0], ["0", "1", "2"])
        self.assertEqual(names[1], ["regressed", "annotated", "head", "hand"])

    def test_eight_images_are_large_in_two_rows_of_four(self):
        figure = figures.landmarks_on_images(
            np.zeros([8, 64, 64, 3]), np.zeros([8, 30, 2]), "title"
        )
        figure.draw_without_rendering()
        boxes = [axis.get_window_extent() for axis in figure.axes[:8]]
        self.assertLen({round(box.y0) for box in boxes}, 2)
        self.assertGreaterEqual(min(box.width for box in boxes), 256)


class SampleEfficiencyTest(absltest.TestCase):
    def test_curve_and_what_lies_above_it(self):
        entries = [
            {"n": 1, "draws": 10, "mean": 300.0, "std": 90.0},
            {"n": 10, "draws": 10, "mean": 8.0, "std": 1.0},
            {"n": 70, "draws": 1, "mean": 5.0, "std": None},
            {"n": 70, "draws": 3, "mean": 6.0, "std": 0.5},
        ]
        figure = figures.sample_efficiency(
            {"no_bias": entries}, 9.0, "NME, %", "title"
        )

        (axis,) = figure.axes
        curve = axis.containers[0]
        np.testing.assert_array_equal(
            curve.lines[0].get_xydata(), [[1, NAN], [10, 8], [70, 5]]
        )
        bars = curve.lines[2][0].get_segments()
        # The last one has the deviation of the resamples.
        np.testing.assert_array_equal(bars[1], [[10, 7], [10, 9]])
        np.testing.assert_array_equal(bars[2], [[70, 4.5], [70, 5.5]])
        self.assertIn("300", "".join(text.get_text() for text in axis.texts))
        self.assertLess(axis.get_ylim()[1], 20)
        self.assertEqual(axis.get_xscale(), "log")
        self.assertEqual(axis.get_ylabel(), "NME, %")


class ScoreMapsTest(absltest.TestCase):
    def test_bars_are_the_marginals_of_the_landmark_named(self):
        random = np.random.default_rng(0)
        detected = {
            "landmarks": random.uniform(-1, 1, [1, 4, 2]),
            "confidence": np.array([[0.1, 0.2, 0.75, 0.4]]),
            "score_maps": random.normal(size=[1, 16, 16, 4]),
            "row_marginals": random.uniform(size=[1, 16, 4]),
            "column_marginals": random.uniform(size=[1, 16, 4]),
        }

        figure = figures.score_maps(
            np.zeros([1, 64, 64, 3]), detected, [2], "title"
        )

        _, score_map = figure.axes
        above, beside = score_map.child_axes
        self.assertIn("landmark 2, confidence 0.75", above.get_title())
        np.testing.assert_array_equal(
            score_map.images[0].get_array(), detected["score_maps"][0, ..., 2]
        )
        np.testing.assert_allclose(
            [bar.get_height() for bar in above.patches],
            detected["column_marginals"][0, :, 2],
        )
        np.testing.assert_allclose(
            [bar.get_width() for bar in beside.patches],
            detected["row_marginals"][0, :, 2],
        )
        # Row 0 is on top, as in the map.
        self.assertGreater(*beside.get_ylim())
        expected = colors.to_rgb(pictures.palette(4)[2])
        np.testing.assert_allclose(_dots(score_map)[1], [expected], atol=1e-6)


class InColourTest(absltest.TestCase):
    def test_overlapping_heatmaps_do_not_add_up(self):
        heatmaps = np.zeros([1, 2, 2, 2], np.float32)
        heatmaps[0, 0, 0] = [1.0, 0.0]
        heatmaps[0, 1, 1] = [0.5, 0.5]
        first, second = pictures.palette(2)

        shown = figures.in_colour(heatmaps)[0]

        np.testing.assert_allclose(shown[0, 0], first)
        np.testing.assert_allclose(shown[0, 1], 0.0)
        np.testing.assert_allclose(shown[1, 1], np.maximum(first, second) / 2)


if __name__ == "__main__":
    absltest.main()
