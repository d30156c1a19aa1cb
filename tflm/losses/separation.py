"""Landmarks that keep apart."""

import tensorflow as tf


def separation(landmarks: tf.Tensor, sigma: float) -> tf.Tensor:
    """How close landmarks are to each other.

    Args:
        landmarks: float `[B, K, 2]`, (y, x), normalised.
        sigma: distance at which two count e^(-1/2), normalised units.

    Returns:
        float scalar: the mean over images and landmarks of the sum over the
        other landmarks of exp(-d^2 / (2 sigma^2)), d being their distance.

    Source: Zhang et al., CVPR 2018, sec. 3.1 (separation constraint).
    """
    offsets = landmarks[:, :, None] - landmarks[:, None]  # [B, K, K, 2]
    squared = tf.reduce_sum(offsets**2, axis=-1)
    closeness = tf.exp(-squared / (2.0 * sigma**2))
    # Each landmark is at distance 0 of itself.
    return tf.reduce_mean(tf.reduce_sum(closeness, axis=-1)) - 1.0
