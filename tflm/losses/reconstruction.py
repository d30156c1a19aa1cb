"""Losses on pixels, or on any features of the same layout."""

import tensorflow as tf


def masked_l1(
    target: tf.Tensor, prediction: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    """Mean absolute error, weighted per pixel; see `masked_l2`."""
    return _masked_mean(tf.abs(prediction - target), mask)


def masked_l2(
    target: tf.Tensor, prediction: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    """Mean squared error, weighted per pixel.

    Args:
        target: float `[B, H, W, C]`.
        prediction: as `target`.
        mask: float `[B, H, W, 1]`, 1 = counts, 0 = ignored.

    Returns:
        float scalar, the mean over unmasked values; 0 if all are masked. (The
        released code divides by the number of all values instead.)
    """
    return _masked_mean(tf.math.squared_difference(prediction, target), mask)


def _masked_mean(errors: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    # Channels first: the mask then meets one value per pixel, not many.
    per_pixel = tf.reduce_mean(errors, axis=-1, keepdims=True)
    return tf.math.divide_no_nan(
        tf.reduce_sum(mask * per_pixel), tf.reduce_sum(mask)
    )
