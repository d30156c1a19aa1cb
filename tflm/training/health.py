"""Do the landmarks move, and is each of them another one?"""

import dataclasses

import numpy as np

DEAD_SPREAD = 0.02  # Normalised units: 1.3 pixels of 128.
DUPLICATE_DISTANCE = 0.05  # Normalised units: 3.2 pixels of 128.


@dataclasses.dataclass(frozen=True)
class Health:
    """What a batch of images says of each landmark."""

    spread: np.ndarray  # [K]: root mean square distance from its own mean.
    dead: list[int]  # Landmarks that stay in place whatever the image.
    duplicated: list[tuple[int, int]]  # Live pairs that stay together.

    def line(self) -> str:
        """One line for a log; lengths in percent of the image side."""
        low, middle, high = 50 * np.quantile(self.spread, [0, 0.5, 1])
        return (
            f"landmarks: spread {low:.1f} / {middle:.1f} / {high:.1f} % of the"
            f" image side (min / median / max), {len(self.dead)} dead,"
            f" {len(self.duplicated)} duplicated of {len(self.spread)}"
        )


def landmark_health(landmarks: np.ndarray) -> Health:
    """Judges landmarks by how they vary over images of many geometries.

    Args:
        landmarks: float `[N, K, 2]`, (y, x) in [-1, 1], of N images.

    Returns:
        The spread of each landmark; dead are those that spread less than
        DEAD_SPREAD; duplicated are pairs of others whose root mean square
        distance is less than DUPLICATE_DISTANCE.
    """
    offsets = landmarks - landmarks.mean(axis=0)
    spread = np.sqrt((offsets**2).sum(-1).mean(axis=0))  # [K]
    between = landmarks[:, :, None] - landmarks[:, None, :]  # [N, K, K, 2]
    distance = np.sqrt((between**2).sum(-1).mean(axis=0))  # [K, K]
    is_dead = spread < DEAD_SPREAD
    duplicated = [
        (int(i), int(j))
        for i, j in np.argwhere(distance < DUPLICATE_DISTANCE)
        if i < j and not is_dead[i] and not is_dead[j]
    ]
    return Health(spread, np.flatnonzero(is_dead).tolist(), duplicated)
