from absl.testing import absltest
import numpy as np

from tests.tflm.evaluation.figures import marked
from tflm.drawing import palette
from tflm.evaluation import figures


def _flat(*values: float) -> np.ndarray:
    """Images `[n, 8, 8, 3]` of one grey each."""
    return np.stack([np.full([8, 8, 3], value) for value in values])


def _greys(figure) -> list[float]:
    """Of the images, row by row from the top, each from the left."""
    figure.draw_without_rendering()
    axes = [axis for axis in figure.axes if axis.images]
    boxes = {axis: axis.get_position() for axis in axes}
    axes.sort(key=lambda axis: (-round(boxes[axis].y0, 2), boxes[axis].x0))
    return [float(axis.images[0].get_array()[0, 0, 0]) for axis in axes]


class QuadrupletsTest(absltest.TestCase):
    def test_a_row_is_source_target_reconstruction_landmarks(self):
        figure = figures.quadruplets(
            _flat(0.1, 0.5),
            _flat(0.2, 0.6),
            _flat(0.3, 7.0),
            np.zeros([2, 8, 8, 3]),
            ["first", "second"],
            "title",
        )
        np.testing.assert_allclose(
            _greys(figure), [0.1, 0.2, 0.3, 0.0, 0.5, 0.6, 1.0, 0.0]
        )
        names = [axis.get_title() for axis in figure.axes[:4]]
        self.assertEqual(names[:2], ["source", "target"])
        self.assertEqual(figure.axes[4].get_ylabel(), "second")


class SwapGridTest(absltest.TestCase):
    def test_styles_are_on_top_and_geometries_at_the_left(self):
        swapped = _flat(0.5, 0.6, -1.0, 0.7, 0.8, 2.0).reshape(2, 3, 8, 8, 3)
        figure = figures.swap_grid(
            _flat(0.1, 0.2, 0.3), _flat(0.4, 0.9), swapped, "title"
        )
        np.testing.assert_allclose(
            _greys(figure),
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.0, 0.9, 0.7, 0.8, 1.0],
        )


class LandmarkGridTest(absltest.TestCase):
    def test_chosen_landmarks_keep_their_colours(self):
        images = _flat(0.1, 0.2, 0.3, 0.4, 0.5, 0.6).reshape(2, 3, 8, 8, 3)
        landmarks = np.zeros([2, 3, 10, 2])
        landmarks[1, 2, 7] = [1.0, -1.0]  # (y, x)

        figure = figures.landmark_grid(
            images,
            landmarks,
            [7, 3],
            ("elevation, degrees", "azimuth, degrees"),
            (["30", "35"], ["0", "20", "40"]),
            "title",
        )

        np.testing.assert_allclose(
            _greys(figure), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
        )
        *views, key = figure.axes
        positions, rgb = marked.dots(views[5])
        colours = palette.palette(10)
        (which,) = np.flatnonzero((positions == [0.0, 7.0]).all(axis=1))
        np.testing.assert_allclose(rgb[which], colours[7], atol=1e-6)
        np.testing.assert_allclose(rgb[1 - which], colours[3], atol=1e-6)
        self.assertEqual(marked.key_of(key), ["7", "3"])
        self.assertEqual([a.get_title() for a in views[:3]], ["0", "20", "40"])
        self.assertEqual(
            [axis.get_ylabel() for axis in views[::3]], ["30", "35"]
        )
        self.assertEqual(figure.get_supylabel(), "elevation, degrees")
        self.assertIn("azimuth, degrees", figure.get_suptitle())


if __name__ == "__main__":
    absltest.main()
