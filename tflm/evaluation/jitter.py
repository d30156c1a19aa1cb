"""How much landmarks tremble in a video.

Whatever moves evenly is midway between where it was and where it will be. The
jitter of a landmark is its distance from there, of three frames of a video that
are equally far apart in time: t - d, t and t + d. Where d is many frames, or
the motion is sudden, it has the object's own acceleration in it: compare it
with the motion, half the distance between the places in t - d and t + d. Both
in pixels. Not in the paper.
"""

import numpy as np


def measure(
    landmarks_px: np.ndarray, videos: np.ndarray, index: np.ndarray
) -> dict | None:
    """Measures the jitter of landmarks in videos.

    Args:
        landmarks_px: float `[N, K, 2]`, of N frames in any order.
        videos: `[N]`: frames of one id are of one video.
        index: int `[N]`: the position of each frame in its video. Where it
            counts something else, viewpoints for instance, nothing of this
            means anything.

    Returns:
        A dict: `px`, the mean over landmarks and frames; `landmarks`, a list of
        K, each one's mean; `triples`, how many neighbours are equally
        far apart; `frames_apart`, the median of their d; `motion_px`, the mean
        motion in d frames. None if no three are equally far apart.
    """
    order = np.lexsort((index, videos))
    videos, index = videos[order], index[order]
    steps = np.diff(index)  # [N - 1]
    is_triple = (
        (videos[:-2] == videos[2:])
        & (steps[:-1] == steps[1:])
        & (steps[:-1] > 0)
    )
    middle = np.flatnonzero(is_triple) + 1
    if not middle.size:
        return None
    landmarks_px = np.asarray(landmarks_px, np.float64)[order]
    before, now, after = (
        landmarks_px[middle + offset] for offset in (-1, 0, 1)
    )
    jitter = np.linalg.norm(now - (before + after) / 2.0, axis=-1)  # [T, K]
    motion = np.linalg.norm(after - before, axis=-1) / 2.0
    return {
        "px": float(jitter.mean()),
        "landmarks": jitter.mean(axis=0).tolist(),
        "triples": len(middle),
        "frames_apart": float(np.median(steps[middle])),
        "motion_px": float(motion.mean()),
    }
