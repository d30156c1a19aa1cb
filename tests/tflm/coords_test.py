from absl.testing import absltest
import numpy as np

from tflm import coords


class CoordsTest(absltest.TestCase):
    def test_axis_runs_from_first_to_last_pixel_centre(self):
        np.testing.assert_allclose(coords.axis(5), [-1, -0.5, 0, 0.5, 1])

    def test_an_axis_of_one_pixel_is_refused(self):
        with self.assertRaisesRegex(ValueError, "at least 2 pixels, got 1"):
            coords.axis(1)

    def test_corners_in_pixels(self):
        points = np.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.5]])
        np.testing.assert_allclose(
            coords.to_pixels(points, (11, 21)), [[0, 0], [10, 20], [5, 15]]
        )

    def test_from_pixels_inverts_to_pixels(self):
        points = np.random.default_rng(0).uniform(-2, 2, [6, 3, 2])
        there = coords.to_pixels(points, (37, 64))
        np.testing.assert_allclose(
            coords.from_pixels(there, (37, 64)), points, atol=1e-6
        )

    def test_missing_points_stay_missing(self):
        missing = np.array([np.nan, np.nan])
        self.assertTrue(np.isnan(coords.to_pixels(missing, (4, 4))).all())

    def test_exported_points_are_x_first(self):
        top_right = np.array([-1.0, 1.0])
        np.testing.assert_allclose(coords.to_xy_fractions(top_right), [1, 0])
        np.testing.assert_allclose(
            coords.from_xy_fractions(np.array([1.0, 0.0])), top_right
        )


if __name__ == "__main__":
    absltest.main()
