"""What an exported model answers, as functions of images.

Every answer is a dict of `landmarks`, float32 `[N, K, 2]`, (x, y), and
`confidence`, float32 `[N, K]`, both in [0, 1]. Of x (y alike) 0 is the centre
of the first column of the given image and 1 that of its last. A landmark on
the outer half of the outermost pixels is moved to their centre.
"""

import tensorflow as tf

from tflm import configs
from tflm import coords
from tflm.data import views
from tflm.models import landmark_model


def detect(
    images: tf.Tensor,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
) -> dict[str, tf.Tensor]:
    """Finds the landmarks of images as they come.

    Args:
        images: `[N, H, W, 3]`, any height and width from 2 pixels on; uint8,
            or float32 in [0, 1].
        model: a trained model, all of whose layers compute in float32.
        config: the model's experiment; it says how images become square.

    Returns:
        See the module; fractions of `images`, also where their border is
        cropped off before the model sees them.
    """
    if images.dtype == tf.uint8:
        images = tf.cast(images, tf.float32) / 255.0
    found = model.detect(views.square(images, config))
    size = tf.shape(images)[1:3]
    points_px = views.points_from_square(found["landmarks"], size, config)
    return _answer(coords.from_pixels(points_px, size), found["confidence"])


def detect_in_view(
    images: tf.Tensor, model: landmark_model.LandmarkModel
) -> dict[str, tf.Tensor]:
    """Finds the landmarks of images that are square views already.

    Args:
        images: float32 `[N, S, S, 3]` in [0, 1], S the model's image size; see
            `data.views.square`.
        model: a trained model, all of whose layers compute in float32.

    Returns:
        See the module; fractions of the view.
    """
    found = model.detect(images)
    return _answer(found["landmarks"], found["confidence"])


def _answer(points: tf.Tensor, confidence: tf.Tensor) -> dict[str, tf.Tensor]:
    """Puts points, (y, x) in [-1, 1], into the exported convention."""
    return {
        "landmarks": tf.clip_by_value(coords.to_xy_fractions(points), 0.0, 1.0),
        # Rounding takes it past its bounds by a millionth.
        "confidence": tf.clip_by_value(confidence, 0.0, 1.0),
    }
