from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import losses
from tflm.losses import loss_networks
from tflm.losses import perceptual
from tflm.losses import reconstruction


def _uniform(seed: int, channels: int = 3) -> tf.Tensor:
    return tf.random.stateless_uniform([2, 8, 8, channels], seed=(seed, 0))


def _random_pair(seed: int):
    batch = {"target": _uniform(2 * seed), "mask": tf.ones([2, 8, 8, 1])}
    return batch, _uniform(2 * seed + 1)


def _grey_pair(target: float, prediction: float, size: int = 8):
    """A batch of one grey, and a reconstruction of another."""
    batch = {
        "source": tf.zeros([2, size, size, 3]),
        "target": tf.fill([2, size, size, 3], target),
        "mask": tf.ones([2, size, size, 1]),
    }
    return batch, tf.fill([2, size, size, 3], prediction)


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


class FromConfigTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(
        ("l1", "l1", {"loss": 0.5}),
        ("l2", "l2", {"loss": 0.25}),
        (
            "perceptual",
            "perceptual",
            {"loss": 1.0, "loss/input": 0.25, "loss/pool": 1.0},
        ),
    )
    def test_values_by_hand(self, name, wanted):
        network = loss_networks.LossNetwork("halves", "", ("pool",), _halves)
        loss = losses.from_config(configs.LossConfig(name), network)
        self.assertAllClose(loss(*_grey_pair(0.0, 0.5)), wanted)

    def test_adversarial_losses_are_built_on_theirs(self):
        """A weight near 0 leaves the loss on pixels."""
        for name, wanted in (("adversarial_l1", 0.5), ("adversarial_l2", 0.25)):
            config = configs.LossConfig(name, adversarial_weight=1e-9)
            batch, prediction = _grey_pair(0.0, 0.5, size=32)
            parts = losses.from_config(config)(batch, prediction)
            self.assertAllClose(parts["loss"], wanted)
            self.assertAllClose(parts["loss/pixel"], wanted)

    def test_the_config_chooses_the_scales(self):
        network = loss_networks.LossNetwork("none", "", (), lambda _: [])
        config = configs.LossConfig("perceptual", scales="released")
        loss = losses.from_config(config, network)
        self.assertGreater(loss(*_grey_pair(0.0, 0.5))["loss"], 10.0)

    def test_perceptual_needs_a_network(self):
        with self.assertRaisesRegex(ValueError, "needs a loss network"):
            losses.from_config(configs.LossConfig("perceptual"))


class PerceptualLossTest(tf.test.TestCase):
    def test_the_first_batch_scales_itself(self):
        loss = perceptual.PerceptualLoss(_halves, ["pool"])
        self.assertAllClose(loss(*_random_pair(1))["loss"], 1.0)

    def test_second_batch_by_hand(self):
        loss = perceptual.PerceptualLoss(lambda _: [], [], decay=0.75)
        loss(*_grey_pair(0.0, 1.0))  # Error 1.
        parts = loss(*_grey_pair(0.0, 2.0))  # Error 4.
        # Running mean: (0.75 * 0.25 * 1 + 0.25 * 4) / (0.75 * 0.25 + 0.25).
        self.assertAllClose(parts["loss"], 4.0 / (1.1875 / 0.4375))
        self.assertAllClose(parts["loss/input"], 4.0)

    def test_scaling_a_layer_changes_nothing_but_its_error(self):
        def tenfold(images):
            return [10.0 * layer for layer in _halves(images)]

        values = []
        for network in (_halves, tenfold):
            loss = perceptual.PerceptualLoss(network, ["pool"])
            loss(*_random_pair(1))
            values.append(loss(*_random_pair(2)))
        one, ten = values
        self.assertAllClose(one["loss"], ten["loss"])
        self.assertAllClose(100.0 * one["loss/pool"], ten["loss/pool"])

    def test_no_gradient_through_the_scales(self):
        loss = perceptual.PerceptualLoss(lambda _: [], [])
        batch, prediction = _random_pair(1)
        with tf.GradientTape() as tape:
            tape.watch(prediction)
            value = loss(batch, prediction)["loss"]
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
        for value in loss(
            {"target": target, "mask": mask}, prediction
        ).values():
            self.assertAllEqual(value, 0.0)

    def test_released_scales_are_those_of_images_up_to_255(self):
        loss = perceptual.PerceptualLoss(lambda _: [], [], "released")
        scale = 100.0
        for difference in (0.5, 0.1):
            error = (255.0 * difference) ** 2
            scale += 0.01 * (error - scale)
            parts = loss(*_grey_pair(0.2, 0.2 + difference))
            self.assertAllClose(parts["loss"], 1000.0 * error / scale)
            self.assertAllClose(parts["loss/input"], difference**2)

    def test_released_scales_of_features_by_hand(self):
        loss = perceptual.PerceptualLoss(_halves, ["conv1_2"], "released")
        parts = loss(*_grey_pair(0.0, 0.5))  # Errors 0.25 and, doubled, 1.
        pixels = 0.25 / (0.99 * 100.0 / 255.0**2 + 0.01 * 0.25)
        features = 1.0 / (0.99 * 1.6 + 0.01 * 1.0)
        self.assertAllClose(parts["loss"], 1000.0 * (pixels + features))

    def test_released_errors_count_masked_values_as_zero(self):
        loss = perceptual.PerceptualLoss(_halves, ["conv1_2"], "released")
        batch, prediction = _grey_pair(0.0, 1.0)
        mask = np.ones([2, 8, 8, 1], np.float32)
        mask[:, :4] = 0.0
        parts = loss({**batch, "mask": mask}, prediction)
        self.assertAllClose(parts["loss/input"], 0.5)
        self.assertAllClose(parts["loss/conv1_2"], 2.0)

    def test_released_gradient_flows_through_the_scales(self):
        loss = perceptual.PerceptualLoss(lambda _: [], [], "released")
        batch, _ = _grey_pair(0.0, 0.0)
        shift = tf.Variable(0.5)
        with tf.GradientTape() as tape:
            value = loss(batch, batch["target"] + shift)["loss"]
        # d/ds of 1000 s^2 / (w + 0.01 s^2).
        start = 0.99 * 100.0 / 255.0**2
        wanted = 1000.0 * 2 * 0.5 * start / (start + 0.01 * 0.25) ** 2
        self.assertAllClose(tape.gradient(value, shift), wanted, rtol=1e-4)

    def test_released_scales_are_of_the_taps_only(self):
        with self.assertRaisesRegex(ValueError, "no released scales.*pool"):
            perceptual.PerceptualLoss(_halves, ["pool"], "released")

    def test_scales_are_saved_with_a_checkpoint(self):
        loss = perceptual.PerceptualLoss(_halves, ["pool"])
        loss(*_random_pair(1))
        path = tf.train.Checkpoint(loss=loss).write(
            f"{self.get_temp_dir()}/loss"
        )
        again = perceptual.PerceptualLoss(_halves, ["pool"])
        tf.train.Checkpoint(loss=again).read(path).assert_consumed()
        self.assertAllClose(again(*_random_pair(2)), loss(*_random_pair(2)))


if __name__ == "__main__":
    tf.test.main()
