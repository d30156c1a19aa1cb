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


class RegressedPointsTest(absltest.TestCase):
    def test_missing_annotation_is_not_drawn(self):
        annotations = np.array([[[0.0, 0.0], [NAN, NAN]]])
        regressed = np.array([[[0.0, 0.1], [0.5, 0.5]]])
        errors = np.array([[6.35, NAN]])

        figure = figures.regressed_points(
            np.zeros([1, 64, 64, 3]),
            regressed,
            annotations,
            errors,
            ["head", "hand"],
            "title",
        )

        axis = figure.axes[0]
        self.assertLen(_dots(axis)[0], 1)
        self.assertLen(axis.lines, 1)
        self.assertEqual(axis.get_title(), "6.3 px")


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
