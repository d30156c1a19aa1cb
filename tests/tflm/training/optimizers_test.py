import dataclasses

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tflm import configs
from tflm.training import optimizers

PLAIN = configs.TrainConfig(weight_decay=0.0, clip="none", learning_rate=0.1)


def _rate(step, **settings):
    config = dataclasses.replace(PLAIN, **settings)
    return float(optimizers.Schedule(config)(step))


class OptimizersTest(tf.test.TestCase):
    def test_staircase(self):
        stairs = {"decay_factor": 0.5, "decay_steps": 10}
        self.assertAllClose(_rate(9, **stairs), 0.1)
        self.assertAllClose(_rate(10, **stairs), 0.05)
        self.assertAllClose(_rate(35, **stairs), 0.0125)

    def test_cosine(self):
        half = {"schedule": "cosine", "num_steps": 100}
        self.assertAllClose(_rate(0, **half), 0.1)
        self.assertAllClose(_rate(50, **half), 0.05)
        self.assertAllClose(_rate(100, **half), 0.0, atol=1e-7)

    def test_warmup(self):
        rising = {"schedule": "constant", "warmup_steps": 4}
        self.assertAllClose(
            [_rate(step, **rising) for step in range(5)],
            [0.025, 0.05, 0.075, 0.1, 0.1],
        )

    def test_l2_weight_decay_is_on_kernels_only(self):
        kernel = tf.Variable(np.full([1, 1, 1, 2], 3.0, np.float32))
        bias = tf.Variable([3.0, 3.0])
        config = dataclasses.replace(PLAIN, weight_decay=0.5)
        gradients, norm = optimizers.prepared(
            [tf.ones([1, 1, 1, 2]), tf.ones([2])], [kernel, bias], config
        )
        self.assertAllClose(gradients[0], np.full([1, 1, 1, 2], 2.5))
        self.assertAllClose(gradients[1], [1.0, 1.0])
        self.assertAllClose(norm, np.sqrt(2 * 2.5**2 + 2))

    def test_decoupled_weight_decay_by_hand(self):
        kernel = tf.Variable(tf.fill([1, 1, 1, 2], 3.0), name="conv/kernel")
        others = [
            tf.Variable([3.0, 3.0], name=f"conv/{name}")
            for name in ("bias", "gamma", "beta")
        ]
        config = dataclasses.replace(
            PLAIN,
            weight_decay=0.5,
            weight_decay_kind="decoupled",
            schedule="constant",
            clip="global",
        )
        variables = [kernel, *others]
        ones = [tf.ones_like(variable) for variable in variables]
        gradients, norm = optimizers.prepared(ones, variables, config)
        self.assertAllClose(norm, np.sqrt(8.0))  # Without any decay.
        optimizers.adam(config).apply_gradients(zip(gradients, variables))
        # Adam's first step is the learning rate; 0.1 * 0.5 * 3 decays.
        self.assertAllClose(kernel, np.full([1, 1, 1, 2], 2.75))
        for variable in others:
            self.assertAllClose(variable, [2.9, 2.9])

    def test_l2_is_no_decoupled_decay(self):
        config = dataclasses.replace(PLAIN, weight_decay=0.5)
        kernel = tf.Variable(tf.ones([1, 1, 1, 1]), name="kernel")
        optimizer = optimizers.adam(config)
        optimizer.apply_gradients([(tf.ones([1, 1, 1, 1]), kernel)])
        self.assertAllClose(kernel, [[[[0.9]]]])

    def test_global_and_per_variable_clip(self):
        variables = [tf.Variable([0.0, 0.0]), tf.Variable([0.0, 0.0])]
        gradients = [tf.constant([3.0, 0.0]), tf.constant([0.0, 0.5])]
        for clip, expected in (
            ("none", ([3.0, 0.0], [0.0, 0.5])),
            ("per_variable", ([1.0, 0.0], [0.0, 0.5])),
            ("global", np.array([[3.0, 0.0], [0.0, 0.5]]) / np.sqrt(9.25)),
        ):
            config = dataclasses.replace(PLAIN, clip=clip)
            clipped, norm = optimizers.prepared(gradients, variables, config)
            self.assertAllClose(clipped, expected)
            self.assertAllClose(norm, np.sqrt(9.25))


def _observe(plateau, losses, name="loss"):
    """Gives losses to a plateau; returns its factor after each."""
    factors = []
    for loss in losses:
        plateau.observe({"loss": tf.constant(1.0), name: tf.constant(loss)})
        factors.append(float(plateau.factor))
    return factors


class PlateauTest(parameterized.TestCase, tf.test.TestCase):
    def _plateau(self, patience_steps):
        return optimizers.Plateau(
            dataclasses.replace(
                PLAIN,
                schedule="plateau",
                decay_factor=0.5,
                patience_steps=patience_steps,
            )
        )

    @parameterized.parameters("loss", "loss/conv1_2")
    def test_the_factor_falls_when_nothing_improves(self, name):
        plateau = self._plateau(patience_steps=3)  # Too few to smooth.
        # A thousandth less, and more, are no improvement over 4.
        losses = [5.0, 4.0, 4.2, 3.999, 4.0, 4.0, 3.0, 3.1, 3.1, 3.1, 3.0]
        expected = [1.0] * 4 + [0.5] * 5 + [0.25] * 2
        self.assertAllClose(_observe(plateau, losses, name), expected)

    def test_smoothing_by_hand(self):
        plateau = self._plateau(patience_steps=20)  # Over 2 steps: halves.
        _observe(plateau, np.exp([4.0, 0.0, 1.0]).tolist())
        # (1/8 * 4 + 1/4 * 0 + 1/2 * 1) / (7/8), after 4 and 4/3.
        self.assertAllClose(plateau.best, 8.0 / 7.0)
        _observe(plateau, np.exp([3.0]).tolist())
        self.assertEqual(int(plateau.waited), 1)
        self.assertAllClose(plateau.best, 8.0 / 7.0)

    def test_layers_count_alike_whatever_their_scale(self):
        plateau = self._plateau(patience_steps=2)
        for small, large in ((1e-6, 1e3), (2e-6, 0.4e3), (1e-6, 0.4e3)):
            plateau.observe(
                {
                    "loss": tf.constant(1.0),
                    "loss/input": tf.constant(small),
                    "loss/conv5_2": tf.constant(large),
                    "adversarial/generator": tf.constant(1.0),
                }
            )
            self.assertEqual(int(plateau.waited), 0)
        expected = np.mean(np.log([1e-6, 0.4e3]))
        self.assertAllClose(plateau.best, expected, rtol=1e-4)

    def test_the_schedule_multiplies_the_factor_and_the_warm_up(self):
        config = dataclasses.replace(
            PLAIN, schedule="plateau", warmup_steps=4, patience_steps=1
        )
        optimizer = optimizers.adam(config)
        _observe(optimizer.plateau, [1.0, 1.0])
        variable = tf.Variable([0.0])
        for expected in (0.25, 0.5, 0.75, 1.0, 1.0):
            optimizer.apply_gradients([(tf.ones([1]), variable)])
            self.assertAllClose(optimizer.learning_rate, 0.1 * 0.95 * expected)


if __name__ == "__main__":
    tf.test.main()
