from absl.testing import absltest
import numpy as np

from tests.tflm.evaluation.figures import marked
from tflm.drawing import palette
from tflm.evaluation import figures

NAN = float("nan")


def _keypoints(**changes) -> figures.Keypoints:
    return figures.Keypoints(
        **{
            "regressed": np.array([[[0.0, 0.1], [0.5, 0.5]]] * 2),
            "annotated": np.array(
                [[[0.0, 0.0], [NAN, NAN]], [[NAN, NAN], [NAN, NAN]]]
            ),
            "errors_px": np.array([[6.35, NAN], [NAN, NAN]]),
            "names": ["head", "hand"],
            **changes,
        }
    )


class LandmarksTest(absltest.TestCase):
    def test_dots_are_in_pixels_of_the_image_and_in_their_colours(self):
        images = np.zeros([1, 65, 65, 3])
        landmarks = np.array([[[-1.0, 0.5], [0.0, 1.0]]])  # (y, x)

        figure = figures.landmarks_on_images(images, landmarks, "title")

        positions, rgb = marked.dots(figure.axes[0])
        np.testing.assert_allclose(positions, [[48, 0], [64, 32]])  # (x, y)
        np.testing.assert_allclose(rgb, palette.palette(2), atol=1e-6)

    def test_neighbours_in_number_have_other_shapes(self):
        landmarks = np.zeros([1, 5, 2])
        landmarks[0, :, 0] = np.arange(5) / 10

        figure = figures.landmarks_on_images(
            np.zeros([1, 65, 65, 3]), landmarks, "title"
        )

        axis = figure.axes[0]
        sizes = [len(one.get_offsets()) for one in axis.collections]
        self.assertEqual(sizes, [2, 1, 1, 1])  # 0 and 4 have the same.
        round_dots = marked.dots(axis)[0][:2]
        np.testing.assert_allclose(round_dots[:, 1], [32.0, 44.8])
        # A square, a triangle and a diamond; a circle is of more pieces.
        self.assertEqual(marked.num_corners(axis)[1:], [5, 4, 5])

    def test_missing_annotation_is_not_drawn(self):
        figure = figures.landmarks_on_images(
            np.zeros([2, 64, 64, 3]), np.zeros([2, 3, 2]), "title", _keypoints()
        )

        # An image's landmarks, its keypoints, the next image's landmarks, ...
        _, first, _, second, landmark_key, keypoint_key = figure.axes
        self.assertLen(marked.dots(first)[0], 1)
        self.assertLen(first.lines, 1)
        self.assertEqual(first.get_title(), "6.3 px")
        self.assertEmpty(second.collections)
        self.assertEqual(second.get_title(), "not annotated")
        self.assertEqual(marked.key_of(landmark_key), ["0", "1", "2"])
        self.assertEqual(
            marked.key_of(keypoint_key),
            ["regressed", "annotated", "head", "hand"],
        )

    def test_eight_images_are_large_in_two_rows_of_four(self):
        figure = figures.landmarks_on_images(
            np.zeros([8, 64, 64, 3]), np.zeros([8, 30, 2]), "title"
        )
        self.assertLess(marked.inches_outside(figure), 0.02)
        boxes = [axis.get_window_extent() for axis in figure.axes[:8]]
        self.assertLen({round(box.y0) for box in boxes}, 2)
        self.assertGreaterEqual(min(box.width for box in boxes), 256)


class MatchedLandmarksTest(absltest.TestCase):
    def test_a_keypoint_looks_the_same_matched_and_regressed(self):
        annotated = np.array([[[0.0, 0.0], [0.5, 0.5]]])
        matched = _keypoints(
            regressed=np.array([[[1.0, 0.0], [NAN, NAN]]]),
            annotated=annotated,
            errors_px=np.array([[63.5, NAN]]),
        )
        regressed = _keypoints(
            regressed=np.array([[[0.0, 0.5], [0.5, 0.0]]]),
            annotated=annotated,
            errors_px=np.array([[10.0, 20.0]]),
        )

        figure = figures.matched_landmarks(
            np.zeros([1, 65, 65, 3]),
            matched,
            regressed,
            {"head": 17, "hand": None},
            "title",
        )

        above, under, key = figure.axes
        positions, rgb = marked.dots(above)
        np.testing.assert_allclose(positions, [[32, 64]])  # (x, y)
        self.assertEqual(above.get_ylabel(), "matched landmarks")
        self.assertEqual(above.get_title(), "63.5 px")
        both_positions, both_rgb = marked.dots(under)
        np.testing.assert_allclose(both_positions, [[48, 32], [32, 48]])
        self.assertEqual(under.get_title(), "15.0 px")
        np.testing.assert_allclose(both_rgb[0], rgb[0])
        self.assertGreater(np.abs(both_rgb[1] - rgb[0]).max(), 0.2)
        self.assertEqual(
            marked.key_of(key), ["found", "annotated", "head = #17", "hand"]
        )


if __name__ == "__main__":
    absltest.main()
