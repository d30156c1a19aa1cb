"""The square view of an image that the networks see, and back."""

import tensorflow as tf

from tflm import configs
from tflm import coords


def square(image: tf.Tensor, config: configs.Config) -> tf.Tensor:
    """Resizes an image to a square and keeps the centre of it.

    The whole image is squeezed to a square of `image_size / crop_fraction`
    pixels, of which the central `image_size` are kept, as in the released
    code (CelebA: 160, then 128).

    Args:
        image: float32 `[..., H, W, C]`, any size.
        config: `model.image_size` and `data.crop_fraction` are used.

    Returns:
        float32 `[..., image_size, image_size, C]`.
    """
    size, full = config.model.image_size, full_size(config)
    resized = tf.image.resize(image, [full, full], antialias=True)
    start = (full - size) // 2
    return resized[..., start : start + size, start : start + size, :]


def points_to_square(
    points_px: tf.Tensor, image_size: tf.Tensor, config: configs.Config
) -> tf.Tensor:
    """Carries points of an image along into its square view.

    Args:
        points_px: float `[..., 2]`, (y, x), pixels of the image.
        image_size: (height, width) of the image, pixels.
        config: as in `square`.

    Returns:
        float `[..., 2]`, (y, x), normalised in the view; outside [-1, 1] where
        a point was cropped away.
    """
    size, full = config.model.image_size, full_size(config)
    factor = full / tf.cast(image_size, tf.float32)
    start = (full - size) // 2
    in_view = (points_px + 0.5) * factor - 0.5 - start
    return coords.from_pixels(in_view, (size, size))


def points_from_square(
    points: tf.Tensor, image_size: tf.Tensor, config: configs.Config
) -> tf.Tensor:
    """Inverts `points_to_square`."""
    size, full = config.model.image_size, full_size(config)
    factor = full / tf.cast(image_size, tf.float32)
    start = (full - size) // 2
    in_view = coords.to_pixels(points, (size, size))
    return (in_view + start + 0.5) / factor - 0.5


def full_size(config: configs.Config) -> int:
    """Side of the square that the whole image is squeezed to, pixels."""
    return round(config.model.image_size / config.data.crop_fraction)
