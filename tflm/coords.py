"""The coordinate convention, the only code that converts.

A point is (y, x). Normalised: -1 is the centre of an axis's first pixel, +1 the
centre of its last. In pixels: 0 is the centre of the first pixel, n - 1 of the
last. At the edge of the product only: (x, y), fractions in [0, 1].
"""

import numpy as np
import tensorflow as tf


def axis(num_pixels: int) -> np.ndarray:
    """Normalised coordinates of an axis's pixel centres.

    Args:
        num_pixels: at least 2.

    Returns:
        float32 `[num_pixels]`, from -1 to 1.

    Raises:
        ValueError: if the axis has fewer than 2 pixels.
    """
    if num_pixels < 2:
        raise ValueError(f"an axis needs at least 2 pixels, got {num_pixels}")
    return np.linspace(-1.0, 1.0, num_pixels, dtype=np.float32)


def to_pixels(points, image_size: tuple[int, int]):
    """Converts normalised points to pixels.

    Args:
        points: float `[..., 2]`, (y, x), tensor or array. Values outside
            [-1, 1] are extrapolated, NaN stays NaN.
        image_size: (height, width) in pixels.

    Returns:
        As `points`, in pixels.

    Source: the grid of the released code (`get_gaussian_maps`). Its test
    script scales by `n` instead of `n - 1`; we do not.
    """
    return (points + 1.0) / 2.0 * (_float32(image_size) - 1.0)


def from_pixels(points_px, image_size):
    """Inverts `to_pixels`; `image_size` may be a tensor `[2]`."""
    return points_px / (_float32(image_size) - 1.0) * 2.0 - 1.0


def to_xy_fractions(points):
    """Converts (y, x) in [-1, 1] to the exported (x, y) in [0, 1].

    0 is the centre of the image's first pixel and 1 that of its last.
    """
    return (points[..., ::-1] + 1.0) / 2.0


def from_xy_fractions(points_xy):
    """Inverts `to_xy_fractions`."""
    return points_xy[..., ::-1] * 2.0 - 1.0


def _float32(image_size):
    if tf.is_tensor(image_size):
        return tf.cast(image_size, tf.float32)
    return np.asarray(image_size, np.float32)
