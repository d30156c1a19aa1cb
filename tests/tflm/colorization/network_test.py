import numpy as np
import tensorflow as tf

from tflm.colorization import network
from tflm.losses import loss_networks

_CONVS = ["conv1_1", "conv1_2", "conv2_1", "conv2_2"] + [
    f"conv{block}_{conv}" for block in (3, 4, 5) for conv in (1, 2, 3)
]


def _trained() -> tf.keras.Model:
    """A network whose normalisation is not that of a new one."""
    tf.keras.utils.set_random_seed(0)
    model = network.colorizer(32, 2)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            for variable in layer.variables:
                values = generator.uniform(0.5, 1.5, variable.shape)
                variable.assign(values)
    return model


def _activations(model: tf.keras.Model, layers: list[str], grey: tf.Tensor):
    outputs = [model.get_layer(name).output for name in layers]
    return tf.keras.Model(model.input, outputs)(grey, training=False)


class NetworkTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.grey = loss_networks.grey(
            tf.random.stateless_uniform([2, 32, 32, 3], seed=(3, 4))
        )

    def test_it_is_a_vgg16(self):
        layers = network.folded(network.colorizer(32, 64))
        self.assertEqual(list(layers), _CONVS)
        widths = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
        for (kernel, bias), before, width in zip(
            layers.values(), [1, *widths], widths
        ):
            self.assertEqual(kernel.shape, (3, 3, before, width))
            self.assertEqual(bias.shape, (width,))

    def test_folded_convolutions_give_the_same_features(self):
        model, maps = _trained(), self.grey
        expected = _activations(
            model, [f"{name}_relu" for name in _CONVS], self.grey
        )
        for (name, (kernel, bias)), there in zip(
            network.folded(model).items(), expected
        ):
            if name.endswith("_1") and name != "conv1_1":
                maps = tf.nn.max_pool2d(maps, 2, 2, "VALID")
            maps = tf.nn.relu(tf.nn.conv2d(maps, kernel, 1, "SAME") + bias)
            self.assertAllClose(maps, there, rtol=1e-4, atol=1e-4)

    def test_the_column_is_one_convolution_of_all_layers_read(self):
        model = _trained()
        read = ["conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"]
        *maps, expected = _activations(
            model, [*(f"{name}_relu" for name in read), "column"], self.grey
        )
        maps = [
            tf.nn.avg_pool2d(maps[0], 4, 4, "VALID"),
            tf.nn.avg_pool2d(maps[1], 2, 2, "VALID"),
            *(tf.image.resize(part, [8, 8]) for part in maps[2:]),
        ]
        parts = [model.get_layer(f"column{i}") for i in range(1, 6)]
        kernel = tf.concat([part.kernel for part in parts], axis=2)
        found = tf.nn.conv2d(tf.concat(maps, axis=-1), kernel, 1, "SAME")
        found += parts[0].bias
        self.assertAllClose(found, expected, rtol=1e-4, atol=1e-4)

    def test_bfloat16_predicts_nearly_the_same(self):
        tf.keras.utils.set_random_seed(0)
        model = network.colorizer(32, 2)
        other = network.colorizer(32, 2, "bfloat16")
        other.set_weights(model.get_weights())
        for one, two in zip(model(self.grey), other(self.grey)):
            self.assertEqual(two.dtype, tf.float32)
            self.assertAllClose(one, two, atol=0.1)
            self.assertNotAllClose(one, two, atol=1e-6)


if __name__ == "__main__":
    tf.test.main()
