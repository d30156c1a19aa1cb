"""The quantised colours that a colourisation network predicts.

A colour is a grey value (the mean of its channels, the network's input), a hue
(the angle around the grey axis, 1 = full turn, 0 = red) and a chroma (largest
channel minus smallest). Hue and chroma fall into NUM_BINS equal bins each; the
network predicts a distribution over either.

Source: Larsson, Maire, Shakhnarovich, Learning Representations for Automatic
Colorization (ECCV 2016), sec. 3, and its released code (gustavla/autocolorize):
hue and chroma of `BgrToMunsell`, 32 equal bins of `UniformToHistogram`, targets
from the pixels around, losses of train/train_vgg16.prototxt. Different here:
every pixel of a window weighs its own hue (released code: the central pixel
weighs the hues of a 7x7 window), and the chroma of nearly black and nearly
white pixels counts like any other (released code: less).
"""

import math

import tensorflow as tf

NUM_BINS = 32
HUE_WEIGHT = 5.0  # Of the hue loss, beside the chroma of the pixel.


def hue_and_chroma(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits the colours of an image from its grey values.

    Args:
        images: float32 `[..., 3]`, RGB in [0, 1].

    Returns:
        Hue and chroma, float32 `[...]` in [0, 1]; the hue of grey is 0.
    """
    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(images), axis=-1)
    return hue, saturation * value


def colorize(grey: tf.Tensor, hue: tf.Tensor, chroma: tf.Tensor) -> tf.Tensor:
    """Inverts `hue_and_chroma`.

    Args:
        grey: float32 `[...]` in [0, 1], the mean of the channels.
        hue: see `hue_and_chroma`.
        chroma: see `hue_and_chroma`.

    Returns:
        float32 `[..., 3]`, RGB, clipped to [0, 1].
    """
    ones = tf.ones_like(hue)
    pure = tf.image.hsv_to_rgb(tf.stack([hue, ones, ones], axis=-1))
    coloured = chroma[..., None] * pure
    mean = tf.reduce_mean(coloured, axis=-1, keepdims=True)
    return tf.clip_by_value(coloured + grey[..., None] - mean, 0.0, 1.0)


def histograms(images: tf.Tensor, window: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The colours in each window of an image.

    Args:
        images: float32 `[B, H, W, 3]`, RGB in [0, 1].
        window: side of the windows, pixels; divides H and W.

    Returns:
        Hue and chroma, float32 `[B, H / window, W / window, NUM_BINS]`. Chroma:
        the share of the window's pixels in each bin. Hue: the same, but each
        pixel counts as much as its chroma; so all bins together are the mean
        chroma of the window, and 0 if it is grey.
    """
    hue, chroma = hue_and_chroma(images)
    # A hue of 1 is one of 0, but a chroma of 1 is the last of its bin.
    hue_bin = tf.cast(hue * NUM_BINS, tf.int32) % NUM_BINS
    chroma_bin = tf.minimum(tf.cast(chroma * NUM_BINS, tf.int32), NUM_BINS - 1)
    return tuple(
        tf.nn.avg_pool2d(pixels, window, window, "VALID")
        for pixels in (
            tf.one_hot(hue_bin, NUM_BINS) * chroma[..., None],
            tf.one_hot(chroma_bin, NUM_BINS),
        )
    )


def cross_entropies(
    targets: tuple[tf.Tensor, tf.Tensor],
    log_probabilities: tuple[tf.Tensor, tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """How badly hue and chroma are predicted.

    Args:
        targets: hue and chroma, see `histograms`.
        log_probabilities: hue and chroma, of the bins, in the same shape or one
            that broadcasts to it.

    Returns:
        Hue and chroma, float32 scalars: nats a pixel, the hue of a pixel
        counting as much as its chroma.
    """
    return tuple(
        -tf.reduce_mean(tf.reduce_sum(target * log_probability, axis=-1))
        for target, log_probability in zip(targets, log_probabilities)
    )


def expected_color(
    grey: tf.Tensor,
    hue_probabilities: tf.Tensor,
    chroma_probabilities: tf.Tensor,
) -> tf.Tensor:
    """One image of the many that a prediction allows.

    Chroma is the expected one, hue the direction of the expected unit vector;
    where the hue is uncertain, that vector is short, and the chroma fades in
    proportion.

    Args:
        grey: float32 `[B, H, W]` in [0, 1], the mean of the channels.
        hue_probabilities: float32 `[B, h, w, NUM_BINS]`, a distribution.
        chroma_probabilities: as `hue_probabilities`.

    Returns:
        float32 `[B, H, W, 3]`, RGB in [0, 1].

    Source: released code (`calc_rgb`), which takes the median chroma and fades
    the same way.
    """
    centres = (tf.range(NUM_BINS, dtype=tf.float32) + 0.5) / NUM_BINS
    angles = 2.0 * math.pi * centres
    units = tf.stack([tf.cos(angles), tf.sin(angles)], axis=-1)  # [bins, 2]
    vectors = tf.matmul(hue_probabilities, units)  # [B, h, w, 2]
    vectors *= tf.matmul(chroma_probabilities, centres[:, None])
    vectors = tf.image.resize(vectors, tf.shape(grey)[1:])
    hue = tf.atan2(vectors[..., 1], vectors[..., 0]) / (2.0 * math.pi) % 1.0
    return colorize(grey, hue, tf.norm(vectors, axis=-1))
