import dataclasses

from absl.testing import parameterized
import tensorflow as tf

from tflm import configs
from tflm import losses
from tflm.data import warps
from tflm.losses import equivariance
from tflm.losses import loss_networks
from tflm.losses import separation
from tflm.models import landmark_model
from tflm.training import optimizers
from tflm.training import steps


def _images(seed: int) -> tf.Tensor:
    return tf.random.stateless_uniform([2, 32, 32, 3], seed=(seed, 0))


def _batch() -> dict[str, tf.Tensor]:
    return {
        "source": _images(1),
        "target": _images(2),
        "seen": _images(3),
        "mask": tf.ones([2, 32, 32, 1]),
    }


def _network(config: configs.LossConfig):
    config = dataclasses.replace(
        config, network="random", network_filters=2, last_tap="conv2_2"
    )
    return loss_networks.load(config, "none", "none", None, seed=0)


class _Recording(tf.keras.layers.Layer):
    """A bottleneck that notes the windows it is called with."""

    def __init__(self, bottleneck, seen):
        super().__init__()
        self._bottleneck, self._seen = bottleneck, seen

    def call(self, scores, windows):
        self._seen.append(float(windows))
        return self._bottleneck(scores, windows=windows)


class _Noting(landmark_model.LandmarkModel):
    """A model that notes its last inputs and outputs."""

    def call(self, inputs, **kwargs):
        self.inputs = inputs
        self.outputs = super().call(inputs, **kwargs)
        return self.outputs


class StepsTest(parameterized.TestCase, tf.test.TestCase):
    def setUp(self):
        super().setUp()
        # Compiling would take longer than these few steps.
        tf.config.run_functions_eagerly(True)
        self.addCleanup(tf.config.run_functions_eagerly, False)

    @parameterized.parameters(
        "loss.name=l1",
        "loss.name=l2",
        "loss.name=adversarial_l1",
        "loss.name=adversarial_l2",
        "loss.name=perceptual",
        "model.fully_connected_units=10",
        "model.fully_connected_units=20",
        "model.fully_connected_units=60",
    )
    def test_the_loss_falls_on_a_fixed_batch(self, setting):
        name = "heatmap" if "loss" in setting else "fully_connected"
        config = configs.override(
            configs.Config(
                model=configs.ModelConfig(
                    image_size=32, num_filters=4, num_landmarks=3
                ),
                train=configs.TrainConfig(learning_rate=1e-2),
            ),
            [f"model.bottleneck={name}", setting],
        )
        tf.keras.utils.set_random_seed(0)
        step = steps.make_train_step(
            landmark_model.LandmarkModel(config.model),
            optimizers.adam(config.train),
            losses.from_config(config.loss, _network(config.loss)),
            config,
        )
        batch = _batch()
        is_adversarial = "adversarial" in setting
        num_steps = 21 if "perceptual" in setting else 6
        if is_adversarial:
            num_steps = 12  # The discriminator learns more slowly.
        metrics = [step(batch) for _ in range(num_steps)]

        first, last = metrics[0], metrics[-1]
        falling = ["loss/pixel"] if is_adversarial else ["loss"]
        if "perceptual" in setting:  # The loss itself is about 1 by design.
            falling = ["loss/input", "loss/conv2_2"]
        if is_adversarial:  # It learns to tell, as the generator to draw.
            falling.append("adversarial/discriminator")
        for name in falling:
            self.assertLess(last[name], 0.8 * first[name])

    def test_landmarks_are_in_windows_while_the_config_says(self):
        model_config = configs.ModelConfig(
            image_size=32, num_filters=4, num_landmarks=4
        )
        config = configs.Config(
            train=configs.TrainConfig(num_steps=10, window_share=0.1)
        )
        model = landmark_model.LandmarkModel(model_config)
        seen = []
        model.bottleneck = _Recording(model.bottleneck, seen)
        step = steps.make_train_step(
            model,
            optimizers.adam(config.train),
            losses.from_config(configs.LossConfig()),
            config,
        )
        batch = _batch()
        for _ in range(2):
            step(batch)
        self.assertAllClose(seen, [1.0, 0.0])

    def test_the_detector_sees_other_colours_than_are_redrawn(self):
        config = configs.Config()
        model = _Noting(
            configs.ModelConfig(image_size=32, num_filters=4, num_landmarks=4)
        )
        step = steps.make_train_step(
            model,
            optimizers.adam(config.train),
            losses.from_config(configs.LossConfig("l2")),
            config,
        )
        batch = _batch()
        found = step(batch)
        self.assertAllEqual(model.inputs[0], batch["source"])
        self.assertAllEqual(model.inputs[1], batch["seen"])
        error = model.outputs["reconstruction"] - batch["target"]
        self.assertAllClose(found["loss"], tf.reduce_mean(error**2))

    @parameterized.parameters((0, 1.0), (2, 0.6), (5, 0.0), (9, 0.0))
    def test_windows_widen_linearly(self, step, expected):
        config = configs.TrainConfig(num_steps=10, window_share=0.5)
        found = steps.windows(tf.constant(step, tf.int64), config)
        self.assertAllClose(found, expected)

    def test_without_a_share_there_are_no_windows(self):
        step = tf.constant(0, tf.int64)
        self.assertEqual(steps.windows(step, configs.TrainConfig()), 0.0)

    @parameterized.parameters((0, 0), (2, 0), (3, 2), (5, 6), (9, 6))
    def test_the_equivariance_weight_rises_linearly(self, step, expected):
        config = configs.override(
            configs.Config(),
            [
                "loss.equivariance_weight=6",
                "loss.equivariance_start=0.2",
                "loss.equivariance_full=0.5",
                "train.num_steps=10",
            ],
        )
        found = steps.equivariance_weight(tf.constant(step), config)
        self.assertAllClose(found, expected)

    def test_terms_of_landmarks_are_weighed_beside_the_reconstruction(self):
        config = configs.override(
            configs.Config(),
            [
                "model.image_size=32",
                "model.num_filters=4",
                "model.num_landmarks=4",
                "loss.equivariance_weight=3",
                "loss.equivariance_start=0",
                "loss.equivariance_full=0",
                "loss.separation_weight=0.5",
                "train.clip=none",
                "train.weight_decay=0",
            ],
        )
        model = _Noting(config.model)
        optimizer = optimizers.adam(config.train)
        step = steps.make_train_step(
            model, optimizer, losses.from_config(config.loss), config
        )
        batch = _batch()
        batch["view"] = _images(4)
        batch["view_warp"] = warps.random_coefficients(
            configs.RELEASED_SOURCE_WARP, 2, tf.constant([1, 2])
        )
        optimizer.iterations.assign(1)
        start = [tf.identity(weight) for weight in model.trainable_variables]

        metrics = step(batch)

        for variable, value in zip(model.trainable_variables, start):
            variable.assign(value)
        with tf.GradientTape() as tape:
            outputs = model(
                (batch["source"], batch["seen"]),
                training=True,
                view=batch["view"],
            )
            apart = separation.separation(outputs["landmarks"], 0.1)
            moved = equivariance.equivariance(
                outputs["landmarks"],
                outputs["view_landmarks"],
                batch["view_warp"],
            )
            error = outputs["reconstruction"] - batch["target"]
            total = tf.reduce_mean(error**2) + 3 * moved + 0.5 * apart
        gradients = tape.gradient(total, model.trainable_variables)
        self.assertAllClose(metrics["landmarks/equivariance"], moved)
        self.assertAllClose(metrics["landmarks/separation"], apart)
        self.assertAllClose(metrics["loss"], tf.reduce_mean(error**2))
        self.assertAllClose(
            metrics["gradient_norm"], tf.linalg.global_norm(gradients)
        )


if __name__ == "__main__":
    tf.test.main()
