import math

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tflm.colorization import colors


def _random_images(*shape: int) -> tf.Tensor:
    return tf.random.stateless_uniform([*shape, 3], seed=(1, 2))


class ColorsTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        ((1.0, 0.0, 0.0), 0.0, 1.0),
        ((0.0, 1.0, 0.0), 1 / 3, 1.0),
        ((0.2, 0.2, 0.6), 2 / 3, 0.4),
        ((0.5, 0.25, 0.25), 0.0, 0.25),
        ((0.6, 0.6, 0.6), 0.0, 0.0),
        ((0.0, 0.0, 0.0), 0.0, 0.0),
    )
    def test_hue_and_chroma(self, color, expected_hue, expected_chroma):
        hue, chroma = colors.hue_and_chroma(tf.constant([[color]]))
        self.assertAllClose(hue, [[expected_hue]])
        self.assertAllClose(chroma, [[expected_chroma]])

    def test_colorize_inverts_hue_and_chroma(self):
        images = _random_images(2, 7, 5)
        grey = tf.reduce_mean(images, axis=-1)
        found = colors.colorize(grey, *colors.hue_and_chroma(images))
        self.assertAllClose(found, images, atol=1e-5)

    def test_bins_of_four_pixels(self):
        red, green, grey = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.5]
        pale = [0.5, 0.25, 0.25]  # Hue 0, chroma 1/4.
        hue, chroma = colors.histograms(
            tf.constant([[[red, green], [grey, pale]]]), window=2
        )
        # Green: hue 1/3, bin floor(32 / 3) = 10.
        expected_hue, expected_chroma = np.zeros(32), np.zeros(32)
        expected_hue[[0, 10]] = [(1 + 1 / 4) / 4, 1 / 4]
        expected_chroma[[0, 8, 31]] = [1 / 4, 1 / 4, 2 / 4]
        self.assertAllClose(hue, [[[expected_hue]]])
        self.assertAllClose(chroma, [[[expected_chroma]]])

    def test_histograms_count_every_pixel_once(self):
        images = _random_images(2, 8, 8)
        hue, chroma = colors.histograms(images, window=4)
        self.assertAllClose(tf.reduce_sum(chroma, axis=-1), np.ones([2, 2, 2]))
        _, pixels = colors.hue_and_chroma(images)
        top_left = tf.reduce_mean(pixels[:, :4, :4], axis=[1, 2])
        self.assertAllClose(tf.reduce_sum(hue, axis=-1)[:, 0, 0], top_left)

    def test_cross_entropy_of_a_uniform_prediction(self):
        images = _random_images(2, 8, 8)
        targets = colors.histograms(images, window=4)
        uniform = tf.fill([colors.NUM_BINS], -math.log(colors.NUM_BINS))
        hue, chroma = colors.cross_entropies(targets, (uniform, uniform))
        mean_chroma = tf.reduce_mean(colors.hue_and_chroma(images)[1])
        self.assertAllClose(chroma, math.log(32))
        self.assertAllClose(hue, mean_chroma * math.log(32))

    def test_a_certain_prediction_gives_the_centre_of_its_bins(self):
        hue = tf.one_hot([[[0]]], colors.NUM_BINS)
        chroma = tf.one_hot([[[15]]], colors.NUM_BINS)
        found = colors.expected_color(tf.fill([1, 1, 1], 0.5), hue, chroma)
        # By hand: hue 0.5 / 32, so pure (1, 6 / 64, 0); chroma 15.5 / 32; the
        # mean of the product, 0.176595, is moved to 0.5.
        self.assertAllClose(found, [[[[0.807780, 0.368815, 0.323405]]]])

    def test_an_uncertain_hue_stays_grey(self):
        hue = tf.fill([1, 1, 1, colors.NUM_BINS], 1 / colors.NUM_BINS)
        chroma = tf.one_hot([[[31]]], colors.NUM_BINS)
        found = colors.expected_color(tf.fill([1, 4, 4], 0.3), hue, chroma)
        self.assertAllClose(found, tf.fill([1, 4, 4, 3], 0.3), atol=1e-5)


if __name__ == "__main__":
    tf.test.main()
