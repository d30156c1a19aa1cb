"""The convolutional networks that read images.

Paper, sec. 4.1: blocks of two 3x3 convolutions (the first of all 7x7), twice
the channels per block, stride 2 in the first convolution of every block but
the first, until 16x16. The paper is silent on normalisation; as in the
released code every convolution is followed by batch normalisation and ReLU.
"""

import math

import tensorflow as tf

FEATURE_SIZE = 16  # Height and width of score maps and features, pixels.


def conv_block(
    inputs: tf.Tensor,
    filters: int,
    kernel_size: int = 3,
    stride: int = 1,
    *,
    name: str,
    dtype: tf.keras.mixed_precision.Policy,
) -> tf.Tensor:
    """Convolution, batch normalisation, ReLU."""
    outputs = tf.keras.layers.Conv2D(
        filters,
        kernel_size,
        stride,
        padding="same",
        use_bias=False,  # The normalisation has one.
        kernel_initializer=tf.keras.initializers.TruncatedNormal(stddev=0.01),
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
    *,
    name: str,
    dtype: tf.keras.mixed_precision.Policy,
) -> tf.keras.Model:
    """Builds the network that turns images into features.

    Args:
        image_size: side of the input, a power of two from 32 on.
        num_filters: channels of the first block.
        name: of the model.
        dtype: policy of all layers.

    Returns:
        A functional model from images `[B, S, S, 3]`, float in [0, 1], to
        features `[B, 16, 16, num_filters * S / 16]`, in the compute type.
    """
    images = tf.keras.Input([image_size, image_size, 3], name="images")
    features = conv_block(
        images, num_filters, 7, name="block1_conv1", dtype=dtype
    )
    features = conv_block(
        features, num_filters, name="block1_conv2", dtype=dtype
    )
    for block in range(2, 2 + int(math.log2(image_size // FEATURE_SIZE))):
        num_filters *= 2
        features = conv_block(
            features,
            num_filters,
            stride=2,
            name=f"block{block}_conv1",
            dtype=dtype,
        )
        features = conv_block(
            features, num_filters, name=f"block{block}_conv2", dtype=dtype
        )
    return tf.keras.Model(images, features, name=name)


def detector(
    image_size: int,
    num_filters: int,
    num_landmarks: int,
    context_convs: int,
    *,
    name: str,
    dtype: tf.keras.mixed_precision.Policy,
) -> tf.keras.Model:
    """Builds an encoder with a 1x1 head.

    Args:
        image_size: see `encoder`, as `num_filters`, `name` and `dtype`.
        num_filters: see `image_size`.
        num_landmarks: channels of the score maps.
        context_convs: 3x3 convolutions between encoder and head. The paper has
            none, and a landmark sees less than half of the image; each lets it
            see an eighth of the image more.
        name: see `image_size`.
        dtype: see `image_size`.

    Returns:
        A functional model from images `[B, S, S, 3]`, float in [0, 1], to
        score maps `[B, 16, 16, num_landmarks]`, float32, unbounded.
    """
    features = encoder(image_size, num_filters, name="features", dtype=dtype)
    outputs = features.output
    for conv in range(1, context_convs + 1):
        outputs = conv_block(
            outputs, outputs.shape[-1], name=f"context_conv{conv}", dtype=dtype
        )
    scores = tf.keras.layers.Conv2D(
        num_landmarks,
        1,
        use_bias=False,  # A softmax over positions takes it out.
        kernel_initializer=tf.keras.initializers.TruncatedNormal(stddev=0.01),
        name="score_maps",
        dtype="float32",
    )(outputs)
    return tf.keras.Model(features.input, scores, name=name)
