from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tflm.models import discriminator


def _images(seed: int, size: int) -> tf.Tensor:
    return tf.random.stateless_uniform([1, size, size, 3], seed=(seed, 0))


def _model(seed: int = 0) -> tf.keras.Model:
    return discriminator.discriminator(name="discriminator", seed=seed)


class DiscriminatorTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(32, 64, 128, 256)
    def test_one_logit_for_every_eighth_pixel(self, size):
        logits = _model()([_images(1, size), _images(2, size)])
        self.assertEqual(logits.shape, [1, size // 8, size // 8, 1])

    @parameterized.parameters("source", "image")
    def test_a_logit_judges_a_patch_of_both_images(self, seen):
        images = {
            name: tf.Variable(_images(1, 128)) for name in ("source", "image")
        }
        with tf.GradientTape() as tape:
            logits = _model()([images["source"], images["image"]])
            logit = logits[0, 8, 8, 0]
        gradient = tf.abs(tape.gradient(logit, images[seen]))[0]
        rows = np.flatnonzero(tf.reduce_max(gradient, axis=(1, 2)))
        # By hand: 4, then + 3 * 2, + 3 * 4 and for the head + 3 * 8.
        self.assertEqual(rows[-1] - rows[0] + 1, 46)

    def test_layers_are_those_of_a_patchgan(self):
        layers = [type(layer).__name__ for layer in _model().layers]
        conv, norm, relu = "Conv2D", "BatchNormalization", "LeakyReLU"
        self.assertEqual(
            layers[-9:],
            [conv, relu, conv, norm, relu, conv, norm, relu, conv],
        )
        for layer in _model().layers:  # A tensor's negative part, times 0.2.
            if type(layer).__name__ == relu:
                self.assertAllClose(layer(tf.constant([-5.0, 5.0])), [-1, 5])

    def test_first_weights_depend_on_the_seed_alone(self):
        kernels = []
        for seed in (1, 1, 2):
            tf.random.uniform([])  # Moves the global generator.
            kernels.append(_model(seed).get_layer("conv1").kernel.numpy())
        self.assertAllEqual(kernels[0], kernels[1])
        self.assertNotAllClose(kernels[0], kernels[2])
        self.assertAllClose(np.std(kernels[0]), 0.02, rtol=0.05)


if __name__ == "__main__":
    tf.test.main()
