from absl.testing import absltest
import numpy as np

from tests.tflm.evaluation import fake_models
from tflm.evaluation import swaps

SIZE = 32


class GridTest(absltest.TestCase):
    def test_row_is_geometry_and_column_is_style(self):
        values = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
        images = fake_models.colours(values, SIZE).numpy()

        grid = swaps.grid(fake_models.Colours(), images)

        for i, j in np.ndindex(2, 2):
            np.testing.assert_allclose(
                grid[i, j, 5, 7], [*values[i, :2], values[j, 2]], rtol=1e-6
            )

    def test_of_a_real_model(self):
        model = fake_models.real(SIZE)
        images = np.random.default_rng(0).uniform(size=[3, SIZE, SIZE, 3])
        images = images.astype(np.float32) * [[[[0.2]]], [[[0.5]]], [[[1.0]]]]
        order = [2, 0, 1]

        grid = swaps.grid(model, images.astype(np.float32))
        reordered = swaps.grid(model, images[order].astype(np.float32))

        plain = model((images, images), training=False)["reconstruction"]
        scale = np.std(plain)
        diagonal = grid[np.arange(3), np.arange(3)]
        np.testing.assert_allclose(diagonal, plain, atol=1e-3 * scale)
        np.testing.assert_allclose(
            reordered, grid[order][:, order], atol=1e-3 * scale
        )
        # Both the geometry and the style make a difference.
        self.assertGreater(np.abs(grid[0] - grid[1]).max(), 1e-2 * scale)
        self.assertGreater(np.abs(grid[:, 0] - grid[:, 1]).max(), 0.1 * scale)


if __name__ == "__main__":
    absltest.main()
