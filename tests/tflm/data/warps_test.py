import dataclasses

from absl.testing import parameterized
from matplotlib import path as paths
import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

from tflm import configs
from tflm import coords
from tflm.data import warps

SIZE = 32
STRONG = configs.WarpConfig(
    rotation=10.0, scale=0.1, translation=0.1, bend_all=0.005, bend_half=0.01
)


def _lattice(num: int) -> np.ndarray:
    y, x = np.meshgrid(coords.axis(num), coords.axis(num), indexing="ij")
    return np.stack([y, x], axis=-1).reshape(-1, 2)


def _smooth_images(batch: int) -> tf.Tensor:
    noise = tf.random.stateless_uniform([batch, 6, 6, 3], seed=(3, 4))
    return tf.image.resize(noise, [SIZE, SIZE], "bicubic")


def _without_affine_part(coefficients: np.ndarray) -> np.ndarray:
    """Projects kernel weights on those of an interpolating spline.

    Its weights sum to 0, alone and times the control points; the affine part
    is separate. Any other weights give no spline that tfa could find.
    """
    points = _lattice(warps.CONTROL_POINTS)
    ones = np.ones([len(points), 1])
    side = np.concatenate([ones, points], axis=1)
    orthonormal, _ = np.linalg.qr(side)
    kernels = coefficients[:, :-3]
    kernels = kernels - orthonormal @ (orthonormal.T @ kernels)
    return np.concatenate([kernels, coefficients[:, -3:]], axis=1)


class WarpsTest(parameterized.TestCase, tf.test.TestCase):
    def test_agrees_with_sparse_image_warp(self):
        images = _smooth_images(3)
        coefficients = _without_affine_part(
            warps.random_coefficients(STRONG, 3, (0, 1)).numpy()
        ).astype(np.float32)
        dest = _lattice(warps.CONTROL_POINTS)
        # Where the warp's output at a control point comes from.
        offsets = dest[:, None] - dest[None]
        squared = np.maximum((offsets**2).sum(-1), 1e-12)
        basis = np.concatenate(
            [squared * np.log(squared), np.ones([len(dest), 1]), dest], axis=1
        )
        source = np.einsum("pn,bnd->bpd", basis, coefficients)

        expected, _ = tfa.image.sparse_image_warp(
            images,
            coords.to_pixels(source.astype(np.float32), (SIZE, SIZE)),
            coords.to_pixels(np.stack([dest] * 3), (SIZE, SIZE)),
        )

        moved = self.evaluate(warps.warp(images, coefficients))
        self.assertAllClose(moved, expected, atol=2e-3)
        self.assertGreater(np.abs(moved - images).max(), 0.2)

    def test_no_warp_changes_nothing(self):
        images = _smooth_images(2)
        coefficients = warps.random_coefficients(configs.NO_WARP, 2, (0, 1))
        self.assertAllClose(warps.warp(images, coefficients), images, atol=1e-4)

    def test_translation_moves_the_content_by_whole_pixels(self):
        images = _smooth_images(1)
        coefficients = np.zeros([1, warps.CONTROL_POINTS**2 + 3, 2], np.float32)
        coefficients[0, -3:] = [[2 * 3 / (SIZE - 1), 0], [1, 0], [0, 1]]
        # The output at row y shows row y + 3 of the input.
        moved = warps.warp(images, coefficients)
        self.assertAllClose(moved[:, :-3], images[:, 3:], atol=1e-3)

    def test_rotation_by_hand(self):
        coefficients = np.zeros([1, warps.CONTROL_POINTS**2 + 3, 2], np.float32)
        coefficients[0, -2:] = [[0, 1], [-1, 0]]  # y -> x, x -> -y.
        grid = warps.sampling_grid(coefficients, (3, 3))
        self.assertAllClose(grid[0, 0, 2], [-1.0, -1.0], atol=1e-5)

    def test_places_of_pixels_are_those_of_the_grid(self):
        coefficients = warps.random_coefficients(STRONG, 2, (0, 1)).numpy()
        pixels = np.stack([_lattice(9)] * 2)  # [2, 81, 2]

        places = warps.sampled_places(coefficients, pixels)

        grid = warps.sampling_grid(coefficients, (9, 9)).numpy()
        self.assertAllClose(places, grid.reshape(2, 81, 2), atol=1e-5)
        self.assertGreater(np.abs(places - pixels).mean(), 0.02)

    def test_place_between_pixels_by_hand(self):
        coefficients = np.zeros([2, warps.CONTROL_POINTS**2 + 3, 2])
        coefficients[:, -2:] = np.eye(2)
        coefficients[0, -3] = [0.5, -0.25]  # A translation.
        coefficients[1, 0, 1] = 2.0  # The kernel of the corner (-1, -1), on x.
        points = np.array([[[0.1, 0.2]], [[-0.5, -1.0]]])

        places = warps.sampled_places(coefficients, points)

        # r^2 = 0.25: 2 * 0.25 * ln(0.25) = -0.693147.
        self.assertAllClose(
            places, [[[0.6, -0.05]], [[-0.5, -1.693147]]], atol=1e-6
        )

    def test_the_border_is_repeated_as_by_dense_image_warp(self):
        images = tf.random.stateless_uniform([3, 12, 10, 2], (1, 2))
        coefficients = warps.random_coefficients(STRONG, 3, (0, 1))
        places = coords.to_pixels(
            warps.sampling_grid(coefficients, (12, 10)), (12, 10)
        )
        here = np.stack(np.mgrid[:12, :10], axis=-1).astype(np.float32)
        self.assertAllClose(
            warps.warp(images, coefficients),
            tfa.image.dense_image_warp(images, here - places),
            atol=1e-4,
        )

    def test_zeros_fill_what_lies_outside(self):
        coefficients = np.zeros([1, warps.CONTROL_POINTS**2 + 3, 2], np.float32)
        # Everything is shown 1.5 rows further up: 2 / 4 is a row of 5.
        coefficients[0, -3:] = [[1.5 * 2 / 4, 0], [1, 0], [0, 1]]
        images = tf.ones([1, 5, 5, 1])

        zero = warps.warp(images, coefficients, "zero")
        border = warps.warp(images, coefficients)

        # By hand: rows 1.5, 2.5, 3.5, 4.5, 5.5 of the input.
        self.assertAllClose(zero[0, :, 2, 0], [1, 1, 1, 0.5, 0], atol=1e-5)
        self.assertAllClose(border, images)

    def test_what_is_shown_is_within_the_outline(self):
        coefficients = warps.random_coefficients(STRONG, 20, (0, 1))
        random = np.random.default_rng(0)
        inside = random.uniform(-0.99, 0.99, [20, 50, 2])
        along = np.linspace(-1, 1, 500, endpoint=False)
        ones = np.ones_like(along)
        outline = np.concatenate(
            [[-ones, along], [along, ones], [ones, -along], [-along, -ones]],
            axis=1,
        ).T
        outlines = warps.sampled_places(
            coefficients, np.broadcast_to(outline, [20, *outline.shape])
        )
        anywhere = random.uniform(-1.5, 1.5, [20, 200, 2])

        found = warps.shows(coefficients, anywhere).numpy()

        expected = [
            paths.Path(shown).contains_points(points)
            for shown, points in zip(outlines, anywhere)
        ]
        self.assertGreater(np.mean(found == expected), 0.999)
        self.assertBetween(np.mean(found), 0.2, 0.8)
        shown = warps.sampled_places(coefficients, inside)
        # A strong warp folds the image over in places.
        self.assertGreater(np.mean(warps.shows(coefficients, shown)), 0.95)

    def test_standard_deviations_are_those_asked_for(self):
        config = dataclasses.replace(STRONG, bend_half=0.0)
        drawn = warps.random_coefficients(config, 4_000, (5, 6)).numpy()
        self.assertAllClose(drawn[:, :-3].std(), 0.005, rtol=0.02)
        self.assertAllClose(drawn[:, -3].std(axis=0), [0.1, 0.1], rtol=0.05)
        angle = np.arctan2(drawn[:, -1, 0], drawn[:, -1, 1])
        self.assertAllClose(np.degrees(angle.std()), 10.0, rtol=0.05)
        scale = np.linalg.norm(drawn[:, -1], axis=-1)
        self.assertAllClose(scale.mean(), 1.0, atol=0.01)
        self.assertAllClose(scale.std(), 0.1, rtol=0.05)

    def test_half_of_the_coefficients_bend(self):
        config = configs.WarpConfig(bend_half=0.01)
        drawn = warps.random_coefficients(config, 100, (5, 6)).numpy()
        share = (drawn[:, :-3] != 0).mean()
        self.assertAllClose(share, 0.5, atol=0.02)

    def test_the_seed_decides_inside_a_parallel_map_too(self):
        def draw(index):
            seed = tf.random.fold_in(tf.constant([1, 2]), index)
            return warps.random_coefficients(STRONG, 1, seed)

        mapped = tf.data.Dataset.range(8).map(draw, num_parallel_calls=4)
        for index, drawn in enumerate(mapped):
            again = draw(tf.constant(index, tf.int64))
            self.assertAllClose(drawn, again, atol=1e-6)

    def test_the_mask_is_zero_at_the_border_and_one_inside(self):
        mask = warps.border_mask(128)[..., 0]
        self.assertAllEqual(mask[:10], np.zeros([10, 128]))
        self.assertAllEqual(mask[30:98, 30:98], np.ones([68, 68]))
        self.assertAllClose(mask, mask.T)
        self.assertAllClose(mask, mask[::-1])
        # By hand: the ramp starts at (1 + tanh(-1 / 0.4)) / 2.
        self.assertAllClose(mask[10, 64], 0.5 + 0.5 * np.tanh(-2.5))


if __name__ == "__main__":
    tf.test.main()
