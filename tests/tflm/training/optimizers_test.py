import dataclasses

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

    def test_weight_decay_is_on_convolution_kernels_only(self):
        kernel = tf.Variable(np.full([1, 1, 1, 2], 3.0, np.float32))
        bias = tf.Variable([3.0, 3.0])
        config = dataclasses.replace(PLAIN, weight_decay=0.5)
        gradients, norm = optimizers.prepared(
            [tf.ones([1, 1, 1, 2]), tf.ones([2])], [kernel, bias], config
        )
        self.assertAllClose(gradients[0], np.full([1, 1, 1, 2], 2.5))
        self.assertAllClose(gradients[1], [1.0, 1.0])
        self.assertAllClose(norm, np.sqrt(2 * 2.5**2 + 2))

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


if __name__ == "__main__":
    tf.test.main()
