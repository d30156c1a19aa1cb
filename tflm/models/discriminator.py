"""The network that tells target images from reconstructions."""

import tensorflow as tf

_FILTERS = (32, 64, 128)  # Half of Isola et al.'s: a CPU has to train it too.


def discriminator(*, name: str, seed: int) -> tf.keras.Model:
    """Builds a PatchGAN that is told which source the image belongs to.

    Three 4x4 convolutions of stride 2 and a 4x4 head; every logit judges a
    patch of 46x46 pixels, so the one network serves all image sizes: from 32
    pixels, where a patch is the image, to 256. Leaky ReLU of slope 0.2, batch
    normalisation after all convolutions but the first and the head.

    Args:
        name: of the model.
        seed: of the first weights, which are N(0, 0.02).

    Returns:
        A functional model from `[source, image]`, each float `[B, S, S, 3]` in
        [0, 1], to logits `[B, S / 8, S / 8, 1]`, float32: positive where the
        patch looks like one of a target.

    Source: Isola et al., CVPR 2017, sec. 3.2.2 and appendix 6.1.2. Their patch
    is 70x70 pixels of 256.
    """

    def convolution(filters: int, stride: int, number: int, use_bias: bool):
        return tf.keras.layers.Conv2D(
            filters,
            4,
            stride,
            padding="same",
            use_bias=use_bias,
            kernel_initializer=tf.keras.initializers.RandomNormal(
                stddev=0.02, seed=seed + number
            ),
            name=f"conv{number}",
        )

    source = tf.keras.Input([None, None, 3], name="source")
    image = tf.keras.Input([None, None, 3], name="image")
    outputs = tf.keras.layers.Concatenate(name="join")([source, image])
    outputs = tf.keras.layers.Rescaling(2.0, -1.0, name="centre")(outputs)
    for number, filters in enumerate(_FILTERS):
        is_first = number == 0
        outputs = convolution(filters, 2, number, is_first)(outputs)
        if not is_first:  # The normalisation has the bias.
            outputs = tf.keras.layers.BatchNormalization(
                epsilon=1e-5, name=f"conv{number}_norm"
            )(outputs)
        outputs = tf.keras.layers.LeakyReLU(0.2, name=f"conv{number}_relu")(
            outputs
        )
    logits = convolution(1, 1, len(_FILTERS), use_bias=True)(outputs)
    return tf.keras.Model([source, image], logits, name=name)
