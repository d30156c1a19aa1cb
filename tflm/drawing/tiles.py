"""Small images, made large enough to look at."""

import numpy as np

_SMALLEST = 128  # Pixels; smaller images are enlarged to about that.


def enlarged(images: np.ndarray) -> np.ndarray:
    """Repeats each pixel of small images, so that none is blurred.

    Args:
        images: `[N, S, S, C]`.

    Returns:
        `[N, T, T, C]`, T a multiple of S; S itself from 65 pixels on.
    """
    times = max(1, _SMALLEST // images.shape[1])
    return images.repeat(times, axis=1).repeat(times, axis=2)
