import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import coords
from tflm.data import warps
from tflm.losses import equivariance

WARP = configs.WarpConfig(
    rotation=10.0, scale=0.1, translation=0.1, bend_all=0.001, bend_half=0.01
)


def _coefficients(**affine) -> tf.Tensor:
    """A warp without bends that shows at u: shift + (u_y * down, u_x)."""
    coefficients = np.zeros([1, warps.CONTROL_POINTS**2 + 3, 2], np.float32)
    coefficients[:, -3] = affine.get("shift", (0.0, 0.0))
    coefficients[:, -2] = (affine.get("down", 1.0), 0.0)
    coefficients[:, -1] = (0.0, 1.0)
    return tf.constant(coefficients)


def _drawn(points: np.ndarray, size: int) -> tf.Tensor:
    """Images `[B, size, size, 1]` with a soft dot at each (y, x)."""
    axis = coords.axis(size)
    dy = axis[None, :, None] - points[:, 0, None, None]
    dx = axis[None, None, :] - points[:, 1, None, None]
    spot = np.exp(-(dy**2 + dx**2) / (2 * 0.04**2))
    return tf.constant(spot[..., None].astype(np.float32))


def _dots(images: tf.Tensor) -> tf.Tensor:
    """A detector that finds the one dot in each image: `[B, 1, 2]`."""
    mass = images[..., 0] / tf.reduce_sum(images, axis=[1, 2])[:, :, None]
    axis = coords.axis(images.shape[1])
    y = tf.einsum("bhw,h->b", mass, axis)
    x = tf.einsum("bhw,w->b", mass, axis)
    return tf.stack([y, x], axis=-1)[:, None]


class EquivarianceTest(tf.test.TestCase):
    def test_the_identity_costs_nothing_whatever_is_found(self):
        landmarks = tf.random.stateless_uniform([1, 5, 2], (1, 2), -1.0, 1.0)
        error = equivariance.equivariance(landmarks, landmarks, _coefficients())
        self.assertAllClose(error, 0.0)

    def test_a_detector_that_finds_a_dot_is_right_under_any_warp(self):
        places = np.random.default_rng(0).uniform(-0.3, 0.3, [8, 2])
        images = _drawn(places, 96)
        warp = warps.random_coefficients(WARP, 8, tf.constant([3, 4]))

        error = equivariance.equivariance(
            _dots(images), _dots(warps.warp(images, warp)), warp
        )

        moved = equivariance.equivariance(_dots(images), _dots(images), warp)
        self.assertLess(error, 2e-4)
        self.assertGreater(moved, 0.01)

    def test_one_that_never_moves_is_wrong_by_the_displacement(self):
        landmarks = tf.constant([[[0.0, 0.0], [0.5, 0.2]]])
        warp = _coefficients(shift=(0.1, -0.2), down=1.2)

        error = equivariance.equivariance(landmarks, landmarks, warp)

        # By hand: u is shown from (0.1 + 1.2 y, x - 0.2); off by (0.1, -0.2)
        # and (0.1 + 0.1, -0.2).
        self.assertAllClose(error, (0.05 + 0.08) / 2)

    def test_what_the_view_does_not_show_does_not_count(self):
        warp = _coefficients(shift=(0.5, 0.0))  # Shows y from -0.5 to 1.5.
        landmarks = tf.constant([[[-0.6, 0.0], [0.0, 0.0]]])

        only_second = equivariance.equivariance(landmarks, landmarks, warp)
        none = equivariance.equivariance(
            landmarks[:, :1], landmarks[:, :1], warp
        )

        self.assertAllClose(only_second, 0.25)
        self.assertAllClose(none, 0.0)

    def test_both_landmarks_get_a_gradient(self):
        one, other = tf.constant([[[0.1, 0.1]]]), tf.constant([[[0.3, 0.1]]])
        with tf.GradientTape() as tape:
            tape.watch([one, other])
            error = equivariance.equivariance(one, other, _coefficients())
        gradients = tape.gradient(error, [one, other])
        self.assertAllClose(gradients[0], [[[-0.4, 0.0]]])
        self.assertAllClose(gradients[1], [[[0.4, 0.0]]])


if __name__ == "__main__":
    tf.test.main()
