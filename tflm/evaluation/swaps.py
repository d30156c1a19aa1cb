"""Images in each other's geometry (paper, figure 7).

The generator takes the looks of one image, its style, and the landmarks of
another, its geometry. In training both are of one object; here they need not
be.
"""

import numpy as np
import tensorflow as tf

from tflm.models import landmark_model


def grid(model: landmark_model.LandmarkModel, images: np.ndarray) -> np.ndarray:
    """Draws every image's geometry in every image's style.

    Args:
        model: with trained weights.
        images: float32 `[M, S, S, 3]` in [0, 1].

    Returns:
        float32 `[M, M, S, S, 3]`, unbounded: in row i and column j image j with
        the landmarks of image i. On the diagonal are plain reconstructions.
    """
    landmarks = model.detect(images)["landmarks"]
    rows = []
    for geometry in landmarks:
        repeated = tf.repeat(geometry[None], len(images), axis=0)
        rows.append(model.generate(images, repeated))
    return np.stack(rows)
