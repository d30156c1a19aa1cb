from absl.testing import absltest
import numpy as np

from tflm.drawing import palette
from tflm.training import pictures


class PicturesTest(absltest.TestCase):
    def test_a_spot_is_at_its_landmark_in_its_colour(self):
        landmarks = np.array([[-1.0, 1.0], [0.5, -0.5]])
        drawn = pictures.heatmap_overlay(np.zeros([41, 41, 3]), landmarks)
        colours = palette.palette(2)
        np.testing.assert_allclose(drawn[0, 40], colours[0], atol=1e-4)
        np.testing.assert_allclose(drawn[30, 10], colours[1], atol=1e-4)
        np.testing.assert_allclose(drawn[20, 30], 0.0, atol=1e-4)

    def test_a_row_is_source_target_reconstruction_landmarks(self):
        source = np.full([2, 8, 8, 3], 0.2)
        target, beyond = np.full([2, 8, 8, 3], 0.4), np.full([2, 8, 8, 3], 7.0)
        grid = pictures.quadruplets(
            source, target, beyond, np.full([2, 1, 2], 5.0)
        )
        self.assertEqual(grid.shape, (256, 512, 3))  # 16 times as large.
        np.testing.assert_allclose(
            grid[200, [100, 200, 300, 400], 0], [0.2, 0.4, 1.0, 0.2], atol=1e-6
        )
        without = pictures.quadruplets(source, target, beyond)
        np.testing.assert_array_equal(without, grid[:, :384])


if __name__ == "__main__":
    absltest.main()
