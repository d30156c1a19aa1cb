import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm import losses
from tflm.losses import perceptual
from tflm.losses import reconstruction


def _uniform(seed: int, channels: int = 3) -> tf.Tensor:
    return tf.random.stateless_uniform([2, 8, 8, channels], seed=(seed, 0))


def _halves(images):
    """A loss network of one layer: half the size, doubled."""
    return [2.0 * tf.nn.avg_pool2d(images, 2, 2, "VALID")]


class ReconstructionTest(tf.test.TestCase):
    def test_by_hand(self):
        target = np.zeros([1, 1, 2, 1], np.float32)
        prediction = np.array([[[[0.5], [-2.0]]]], np.float32)
        mask = np.ones([1, 1, 2, 1], np.float32)
        self.assertAllClose(
            reconstruction.masked_l1(target, prediction, mask), 1.25
        )
        self.assertAllClose(
            reconstruction.masked_l2(target, prediction, mask), 2.125
        )

    def test_masked_pixels_do_not_count(self):
        target, prediction = _uniform(1), _uniform(2).numpy()
        mask = np.ones([2, 8, 8, 1], np.float32)
        mask[:, :4] = 0.0
        before = reconstruction.masked_l2(target, prediction, mask)
        prediction[:, :4] += 100.0
        after = reconstruction.masked_l2(target, prediction, mask)
        self.assertAllClose(before, after)
        self.assertAllClose(
            before,
            np.mean((target[:, 4:] - prediction[:, 4:]) ** 2),
        )

    def test_all_masked_is_zero(self):
        mask = np.zeros([2, 8, 8, 1], np.float32)
        value = reconstruction.masked_l1(_uniform(1), _uniform(2), mask)
        self.assertAllEqual(value, 0.0)

    def test_perceptual_needs_a_network(self):
        with self.assertRaisesRegex(errors.UserError, "--set loss.name=l2"):
            losses.from_config(configs.LossConfig("perceptual"))


class PerceptualLossTest(tf.test.TestCase):
    def test_the_first_batch_scales_itself(self):
        loss = perceptual.PerceptualLoss(_halves, ["pool"])
        value = loss(_uniform(1), _uniform(2), tf.ones([2, 8, 8, 1]))
        self.assertAllClose(value, 1.0)

    def test_second_batch_by_hand(self):
        loss = perceptual.PerceptualLoss(lambda _: [], [], decay=0.75)
        mask, zeros = tf.ones([1, 8, 8, 1]), tf.zeros([1, 8, 8, 3])
        loss(zeros, zeros + 1.0, mask)  # Error 1.
        value = loss(zeros, zeros + 2.0, mask)  # Error 4.
        # Running mean: (0.75 * 0.25 * 1 + 0.25 * 4) / (0.75 * 0.25 + 0.25).
        self.assertAllClose(value, 4.0 / (1.1875 / 0.4375))

    def test_scaling_a_layer_changes_nothing(self):
        def tenfold(images):
            return [10.0 * layer for layer in _halves(images)]

        mask, values = tf.ones([2, 8, 8, 1]), []
        for network in (_halves, tenfold):
            loss = perceptual.PerceptualLoss(network, ["pool"])
            loss(_uniform(1), _uniform(2), mask)
            values.append(loss(_uniform(3), _uniform(4), mask))
        self.assertAllClose(*values)

    def test_no_gradient_through_the_scales(self):
        loss = perceptual.PerceptualLoss(lambda _: [], [])
        prediction = _uniform(2)
        with tf.GradientTape() as tape:
            tape.watch(prediction)
            value = loss(_uniform(1), prediction, tf.ones([2, 8, 8, 1]))
        gradient = tape.gradient(value, prediction)
        # With it, the first batch's error over itself would be constant.
        self.assertGreater(tf.reduce_max(tf.abs(gradient)), 1e-4)

    def test_the_mask_reaches_every_layer(self):
        loss = perceptual.PerceptualLoss(_halves, ["pool"])
        mask = np.ones([2, 8, 8, 1], np.float32)
        mask[:, :4] = 0.0
        target = _uniform(1).numpy()
        prediction = target.copy()
        prediction[:, :2] += 1.0
        self.assertAllEqual(loss(target, prediction, mask), 0.0)

    def test_scales_are_saved_with_a_checkpoint(self):
        mask = tf.ones([2, 8, 8, 1])
        loss = perceptual.PerceptualLoss(_halves, ["pool"])
        loss(_uniform(1), _uniform(2), mask)
        path = tf.train.Checkpoint(loss=loss).write(
            f"{self.get_temp_dir()}/loss"
        )
        again = perceptual.PerceptualLoss(_halves, ["pool"])
        tf.train.Checkpoint(loss=again).read(path).assert_consumed()
        self.assertAllClose(
            again(_uniform(3), _uniform(4), mask),
            loss(_uniform(3), _uniform(4), mask),
        )


if __name__ == "__main__":
    tf.test.main()
