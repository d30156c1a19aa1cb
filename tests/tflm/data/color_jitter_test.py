import math

import numpy as np
import tensorflow as tf

from tflm.data import color_jitter

# Far from black and white, so that hardly anything is clipped.
IMAGES = tf.random.stateless_uniform([6, 5, 4, 3], (0, 0), 0.4, 0.6)


def _jittered(images, amount=0.05, seed=1):
    seed = tf.constant([seed, 0])
    return color_jitter.color_jitter(images, amount, seed).numpy()


class ColorJitterTest(tf.test.TestCase):
    def test_the_seed_draws_the_colours(self):
        self.assertAllEqual(_jittered(IMAGES), _jittered(IMAGES))
        self.assertNotAllClose(_jittered(IMAGES), _jittered(IMAGES, seed=2))

    def test_colours_change_alike_over_an_image_and_not_over_a_batch(self):
        maps = []
        for before, after in zip(IMAGES.numpy(), _jittered(IMAGES)):
            before = np.concatenate([before, np.ones([5, 4, 1])], axis=-1)
            before, after = before.reshape(20, 4), after.reshape(20, 3)
            found, *_ = np.linalg.lstsq(before, after, rcond=None)
            self.assertAllClose(before @ found, after, atol=1e-5)
            maps.append(found)
        for i in range(1, 6):
            self.assertNotAllClose(maps[0], maps[i], atol=1e-2)

    def test_without_an_amount_only_the_saturation_changes(self):
        images = tf.tile(IMAGES[:1], [2_000, 1, 1, 1])
        found = _jittered(images, amount=0.0)
        grey = tf.reduce_mean(IMAGES[0], axis=-1, keepdims=True)
        factors = (found - grey)[:, 0, 0, 0] / (IMAGES[0] - grey)[0, 0, 0]
        self.assertAllClose(
            found,
            grey + factors[:, None, None, None] * (IMAGES[0] - grey),
            atol=1e-5,
        )
        self.assertAllInRange(factors, 0.0, 1.5)
        self.assertAllClose(tf.reduce_mean(factors), 0.75, atol=0.04)

    def test_each_channel_has_a_gain_and_all_have_a_brightness(self):
        found = _jittered(tf.fill([20_000, 1, 1, 3], 0.5), 0.2)[:, 0, 0]
        # By hand: 0.5 exp(0.2 n) + 0.1 m, with an n of each channel; 0.0425 is
        # the variance of exp(0.2 n).
        gain = 0.25 * (math.exp(0.04) - 1.0) * math.exp(0.04)
        variances = np.full([3, 3], 0.01) + gain * np.eye(3)
        self.assertAllClose(np.cov(found.T), variances, atol=1e-3)

    def test_contrast_changes_about_the_mean(self):
        images = tf.tile([[[[0.35] * 3, [0.45] * 3]]], [20_000, 1, 1, 1])
        found = _jittered(images, 0.1)[:, 0]
        # Of two greys that differ by 0.1: contrast and gain are multiplied.
        logarithms = np.log((found[:, 1] - found[:, 0]) / 0.1)
        self.assertAllClose(
            np.cov(logarithms.T), 0.01 + 0.01 * np.eye(3), atol=1e-3
        )
        # Gain alone changes what both greys have in common.
        self.assertAllClose(
            found.mean((0, 1)), [0.4 * math.exp(0.005)] * 3, atol=2e-3
        )

    def test_the_range_stays(self):
        images = tf.random.stateless_uniform([50, 4, 4, 3], (1, 0))
        found = _jittered(images, 1.0)
        self.assertEqual((found.min(), found.max()), (0.0, 1.0))


if __name__ == "__main__":
    tf.test.main()
