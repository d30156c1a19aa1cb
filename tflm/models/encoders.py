"""The convolutional networks that read images.

Paper, sec. 4.1: blocks of two 3x3 convolutions (the first of all 7x7), twice
the channels per block, stride 2 in the first convolution of every block but
the first, until 16x16. The paper is silent on normalisation; as in the
released code every convolution is followed by batch normalisation and ReLU.

So it is on padding. The released code pads with zeros; from these a network
that sees most of the image knows where in it a feature is, and can answer with
places instead of looking for parts. With symmetric padding it cannot: a
constant image gives the same features everywhere.
"""

import math

import tensorflow as tf

FEATURE_SIZE = 16  # Height and width of score maps and features, pixels.


def kernel_initializer(
    name: str, *, is_last: bool = False
) -> tf.keras.initializers.Initializer:
    """First weights of a convolution.

    Args:
        name: of `configs.INITIALIZERS`. "normal" (paper) has a standard
            deviation of 0.01; "truncated_normal" (released code) is that cut
            off at two deviations, which leaves 0.0088; "he_normal" has that of
            He et al. (ICCV 2015), which keeps the scale of ReLU layers.
        is_last: a network's last convolution, which no normalisation follows:
            its scale matters, and "he_normal" leaves it at 0.01.
    """
    if name == "he_normal" and not is_last:
        return tf.keras.initializers.HeNormal()
    if name == "normal":
        return tf.keras.initializers.RandomNormal(stddev=0.01)
    return tf.keras.initializers.TruncatedNormal(stddev=0.01)


@tf.keras.utils.register_keras_serializable(package="tflm")
class SymmetricPadding(tf.keras.layers.Layer):
    """Mirrors the border of images, its pixels included, to pad them.

    A convolution without padding after it gives as many rows and columns as one
    with Keras' padding "same", at the same places.

    Args:
        kernel_size: of the convolution.
        stride: of the convolution, which divides the sides of the images.

    Call arguments:
        inputs: `[B, H, W, C]`.

    Returns:
        `[B, H + kernel_size - stride, W + kernel_size - stride, C]`.

    Raises:
        ValueError: if the stride is larger than the kernel.
    """

    def __init__(self, kernel_size: int, stride: int = 1, **kwargs):
        super().__init__(**kwargs)
        if not 1 <= stride <= kernel_size:
            raise ValueError(
                f"stride must be from 1 to kernel_size ({kernel_size}), got"
                f" {stride}"
            )
        self.kernel_size = kernel_size
        self.stride = stride

    def call(self, inputs):
        total = self.kernel_size - self.stride
        sides = [total // 2, total - total // 2]
        return tf.pad(inputs, [[0, 0], sides, sides, [0, 0]], "SYMMETRIC")

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "stride": self.stride,
        }


def conv_block(
    inputs: tf.Tensor,
    filters: int,
    kernel_size: int = 3,
    stride: int = 1,
    *,
    padding: str = "zero",
    initializer: str,
    name: str,
    dtype: tf.keras.mixed_precision.Policy,
) -> tf.Tensor:
    """Convolution, batch normalisation, ReLU; see `kernel_initializer`.

    `padding` is "zero" or "symmetric": see the module.
    """
    if padding == "symmetric":
        inputs = SymmetricPadding(
            kernel_size, stride, name=f"{name}_padding", dtype=dtype
        )(inputs)
    outputs = tf.keras.layers.Conv2D(
        filters,
        kernel_size,
        stride,
        padding="valid" if padding == "symmetric" else "same",
        use_bias=False,  # The normalisation has one.
        kernel_initializer=kernel_initializer(initializer),
        name=name,
        dtype=dtype,
    )(inputs)
    outputs = tf.keras.layers.BatchNormalization(
        momentum=0.99, epsilon=1e-3, name=f"{name}_norm", dtype=dtype
    )(outputs)
    return tf.keras.layers.ReLU(name=f"{name}_relu", dtype=dtype)(outputs)


def encoder(
    image_size: int,
    num_filters: int,
    context_convs: int = 0,
    *,
    padding: str = "zero",
    initializer: str,
    name: str,
    dtype: tf.keras.mixed_precision.Policy,
) -> tf.keras.Model:
    """Builds the network that turns images into features.

    Args:
        image_size: side of the input, a power of two from 32 on.
        num_filters: channels of the first block.
        context_convs: further 3x3 convolutions at 16x16. The paper has none,
            and a feature sees less than half of the image; each lets it see an
            eighth of the image more.
        padding: "zero" or "symmetric", see the module.
        initializer: see `kernel_initializer`.
        name: of the model.
        dtype: policy of all layers.

    Returns:
        A functional model from images `[B, S, S, 3]`, float in [0, 1], to
        features `[B, 16, 16, num_filters * S / 16]`, in the compute type.
    """
    options = {"padding": padding, "initializer": initializer, "dtype": dtype}
    images = tf.keras.Input([image_size, image_size, 3], name="images")
    features = conv_block(
        images, num_filters, 7, name="block1_conv1", **options
    )
    features = conv_block(features, num_filters, name="block1_conv2", **options)
    for block in range(2, 2 + int(math.log2(image_size // FEATURE_SIZE))):
        num_filters *= 2
        for conv, stride in ((1, 2), (2, 1)):
            features = conv_block(
                features,
                num_filters,
                stride=stride,
                name=f"block{block}_conv{conv}",
                **options,
            )
    for conv in range(1, context_convs + 1):
        features = conv_block(
            features, num_filters, name=f"context_conv{conv}", **options
        )
    return tf.keras.Model(images, features, name=name)


def detector(
    image_size: int,
    num_filters: int,
    num_landmarks: int,
    context_convs: int,
    *,
    padding: str = "zero",
    initializer: str,
    name: str,
    dtype: tf.keras.mixed_precision.Policy,
) -> tf.keras.Model:
    """Builds an encoder with a 1x1 head.

    Args:
        image_size: see `encoder`, as all others but `num_landmarks`.
        num_filters: see `image_size`.
        num_landmarks: channels of the score maps.
        context_convs: see `image_size`.
        padding: see `image_size`.
        initializer: see `image_size`.
        name: see `image_size`.
        dtype: see `image_size`.

    Returns:
        A functional model from images `[B, S, S, 3]`, float in [0, 1], to
        score maps `[B, 16, 16, num_landmarks]`, float32, unbounded.
    """
    features = encoder(
        image_size,
        num_filters,
        context_convs,
        padding=padding,
        initializer=initializer,
        name="features",
        dtype=dtype,
    )
    scores = tf.keras.layers.Conv2D(
        num_landmarks,
        1,
        use_bias=False,  # A softmax over positions takes it out.
        kernel_initializer=kernel_initializer(initializer, is_last=True),
        name="score_maps",
        dtype="float32",
    )(features.output)
    return tf.keras.Model(features.input, scores, name=name)
