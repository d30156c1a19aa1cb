"""Landmarks that move with the image."""

import tensorflow as tf

from tflm.data import warps


def equivariance(
    landmarks: tf.Tensor, in_view: tf.Tensor, view_warp: tf.Tensor
) -> tf.Tensor:
    """How far landmarks are from where a known warp takes them.

    The landmarks of an image are compared with those of a warped view of it.
    The view shows at u what the image has at W(u), so a landmark that is found
    at u in the view should be at W(u) in the image. Landmarks whose spot the
    view does not show do not count.

    Args:
        landmarks: float `[B, K, 2]`, (y, x), normalised, found in the image.
        in_view: as `landmarks`, found in the view.
        view_warp: of the view, see `warps.random_coefficients`.

    Returns:
        float scalar: the mean squared distance of W(u) from the landmark,
        normalised units; 0 if none counts. The gradient reaches both.

    Source: Jakab et al., NeurIPS 2018, end of sec. 2, name it as a cue that
    their method can take in; Thewlis et al., ICCV 2017, learn landmarks by it.
    """
    places = warps.sampled_places(view_warp, in_view)
    squared = tf.reduce_sum((places - landmarks) ** 2, axis=-1)  # [B, K]
    weight = tf.cast(warps.shows(view_warp, landmarks), squared.dtype)
    return tf.math.divide_no_nan(
        tf.reduce_sum(weight * squared), tf.reduce_sum(weight)
    )
