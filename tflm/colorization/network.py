"""The network that learns by colourising: VGG-16 and a hypercolumn head.

Only the 13 convolutions of VGG-16 outlive the training; `folded` takes them
out, batch normalisation included.
"""

import numpy as np
import tensorflow as tf

from tflm.colorization import colors
from tflm.losses import loss_networks
from tflm.models import encoders

_WIDTHS = (1, 2, 4, 8, 8)  # Of the blocks, over that of the first.
WINDOW = 4  # Side of the pixels that share one column, as of colours.
_HEAD_UNITS = 128


def colorizer(
    image_size: int, num_filters: int, precision: str = "float32"
) -> tf.keras.Model:
    """Builds a VGG-16 that predicts the colours of what it sees in grey.

    3x3 convolutions, each with batch normalisation and ReLU, in five blocks of
    `num_filters` times 1, 2, 4, 8, 8 channels with 2x2 max-pooling between
    them (64 gives VGG-16). The last convolution of every block is read at a
    quarter of the image's side, and the column of them there goes through a
    1x1 convolution, ReLU and another 1x1 convolution to the bins.

    Args:
        image_size: side of the input, pixels; a multiple of 16.
        num_filters: channels of the first block.
        precision: "float32", or "bfloat16": convolutions compute in it.

    Returns:
        A functional model from grey images `[B, S, S, 1]`, see
        `loss_networks.grey`, to two logits of hue and chroma, each float32
        `[B, S / 4, S / 4, colors.NUM_BINS]`. Its layer conv1_1 is the first
        convolution, conv1_1_norm and conv1_1_relu follow it, and so on.

    Source: Simonyan and Zisserman (ICLR 2015), configuration D; Larsson et al.
    (ECCV 2016), sec. 3.1, which reads all layers at single pixels. (The first
    1x1 convolution of a column is a sum of one for each layer read; each is
    applied before its layer is brought to the common size, which is the same
    and cheaper.)
    """
    dtype = tf.keras.mixed_precision.Policy(
        {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]
    )
    grey = tf.keras.Input([image_size, image_size, 1], name="grey")
    features, column = grey, []
    for block, (count, width) in enumerate(
        zip(loss_networks.VGG16_DEPTHS, _WIDTHS), start=1
    ):
        if block > 1:
            features = tf.keras.layers.MaxPooling2D(
                name=f"pool{block - 1}", dtype=dtype
            )(features)
        for conv in range(1, count + 1):
            features = encoders.conv_block(
                features,
                num_filters * width,
                name=f"conv{block}_{conv}",
                initializer="he_normal",
                dtype=dtype,
            )
        column.append(_read(features, image_size, block, dtype))
    hidden = tf.keras.layers.Add(name="column", dtype=dtype)(column)
    hidden = tf.keras.layers.ReLU(name="column_relu", dtype=dtype)(hidden)
    logits = tf.keras.layers.Conv2D(
        2 * colors.NUM_BINS, 1, name="logits", dtype="float32"
    )(hidden)
    outputs = [
        logits[..., : colors.NUM_BINS],
        logits[..., colors.NUM_BINS :],
    ]
    return tf.keras.Model(grey, outputs, name="colorizer")


def _read(features, image_size, block, dtype):
    """The part of the column that a block gives."""
    size, column_size = features.shape[1], image_size // WINDOW
    if size > column_size:  # Pooled first: the mean of a linear map.
        features = tf.keras.layers.AveragePooling2D(
            size // column_size, name=f"column{block}_pool", dtype=dtype
        )(features)
    features = tf.keras.layers.Conv2D(
        _HEAD_UNITS,
        1,
        use_bias=block == 1,  # One is enough for a sum.
        kernel_initializer="he_normal",
        name=f"column{block}",
        dtype=dtype,
    )(features)
    if size < column_size:
        features = tf.keras.layers.UpSampling2D(
            column_size // size,
            interpolation="bilinear",
            name=f"column{block}_up",
            dtype=dtype,
        )(features)
    return features


def folded(
    model: tf.keras.Model,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The convolutions with their batch normalisation worked in.

    Args:
        model: see `colorizer`.

    Returns:
        Per name, in order, kernel and bias, float32: `[3, 3, in, out]` and
        `[out]`. A convolution with them, then ReLU, is the model's own
        convolution, normalisation in inference mode, and ReLU.
    """
    layers = {}
    for name in loss_networks.layer_names():
        norm = model.get_layer(f"{name}_norm")
        kernel = model.get_layer(name).kernel.numpy()
        gamma, beta = norm.gamma.numpy(), norm.beta.numpy()
        mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        layers[name] = (kernel * scale, beta - mean * scale)
    return layers
