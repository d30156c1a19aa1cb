"""Pictures of what the model sees, as in the paper's figure 2."""

import numpy as np

from tflm import coords
from tflm.drawing import palette
from tflm.drawing import tiles


def heatmap_overlay(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Draws landmarks as coloured spots on the dimmed image.

    Args:
        image: float `[S, S, 3]` in [0, 1].
        landmarks: float `[K, 2]`, (y, x) in [-1, 1].

    Returns:
        float32 `[S, S, 3]` in [0, 1].
    """
    axis = coords.axis(image.shape[0])
    distance = (axis[:, None, None] - landmarks[:, 0]) ** 2
    distance = distance + (axis[None, :, None] - landmarks[:, 1]) ** 2
    spots = np.exp(-distance / (2 * 0.04**2))  # [S, S, K]
    colours = palette.palette(len(landmarks))
    colour = spots @ colours / np.maximum(spots.sum(-1, keepdims=True), 1e-6)
    cover = spots.max(-1, keepdims=True)
    grey = 0.5 * image.mean(-1, keepdims=True)
    return (grey * (1.0 - cover) + colour * cover).astype(np.float32)


def quadruplets(
    source: np.ndarray,
    target: np.ndarray,
    reconstruction: np.ndarray,
    landmarks: np.ndarray | None = None,
) -> np.ndarray:
    """A row per pair: source, target, reconstruction, landmarks.

    Args:
        source: float `[N, S, S, 3]` in [0, 1], as `target`.
        target: see `source`.
        reconstruction: as `target`, unbounded.
        landmarks: float `[N, K, 2]` of the target, (y, x) in [-1, 1]; None if
            the model has none: then rows are shorter.

    Returns:
        float32 `[N * T, 4 * T, 3]` in [0, 1], T a multiple of S.
    """
    source, target, reconstruction = map(
        tiles.enlarged, (source, target, reconstruction)
    )
    shown = [source, target, np.clip(reconstruction, 0.0, 1.0)]
    if landmarks is not None:
        pairs = zip(target, landmarks)
        shown.append(np.stack([heatmap_overlay(*pair) for pair in pairs]))
    rows = np.concatenate(shown, axis=2)
    return rows.reshape(-1, *rows.shape[2:]).astype(np.float32)
