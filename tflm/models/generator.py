"""The generator: appearance features and heatmaps to an image."""

import tensorflow as tf

from tflm.models import encoders


def generator(
    image_size: int,
    num_filters: int,
    num_landmarks: int,
    last_convs: int = 2,
    *,
    initializer: str,
    name: str,
    dtype: tf.keras.mixed_precision.Policy,
) -> tf.keras.Model:
    """Builds the decoder of sec. 4.1.

    Blocks of two 3x3 convolutions, half the channels per block, twice the
    resolution between blocks (bilinear). At 128 pixels and 32 filters: 256 to
    32 channels, as in the paper; the channels scale with `num_filters`.

    Args:
        image_size: side of the output, a power of two from 32 on.
        num_filters: channels of the last block.
        num_landmarks: channels of the heatmaps.
        last_convs: convolutions of the last block: 2 as of the others (paper),
            or 1 (released code).
        initializer: see `encoders.kernel_initializer`.
        name: of the model.
        dtype: policy of all layers but the last.

    Returns:
        A functional model from `[features, heatmaps]`, `[B, 16, 16,
        num_filters * image_size / 16]` and `[B, 16, 16, num_landmarks]`, to
        images `[B, image_size, image_size, 3]`, float32, unbounded.
    """
    size = encoders.FEATURE_SIZE
    filters = num_filters * image_size // size
    features = tf.keras.Input([size, size, filters], name="features")
    heatmaps = tf.keras.Input([size, size, num_landmarks], name="heatmaps")
    outputs = tf.keras.layers.Concatenate(name="join", dtype=dtype)(
        [features, heatmaps]
    )
    block = 1
    while True:
        is_last = size == image_size
        for conv in range(1, 1 + (last_convs if is_last else 2)):
            outputs = encoders.conv_block(
                outputs,
                filters,
                initializer=initializer,
                name=f"block{block}_conv{conv}",
                dtype=dtype,
            )
        if is_last:
            break
        outputs = tf.keras.layers.UpSampling2D(
            interpolation="bilinear", name=f"block{block}_up", dtype=dtype
        )(outputs)
        size, block = 2 * size, block + 1
        filters = max(filters // 2, num_filters)
    images = tf.keras.layers.Conv2D(
        3,
        3,
        padding="same",
        kernel_initializer=encoders.kernel_initializer(
            initializer, is_last=True
        ),
        name="images",
        dtype="float32",
    )(outputs)
    return tf.keras.Model([features, heatmaps], images, name=name)
