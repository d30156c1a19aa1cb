"""The linear map from discovered landmarks to annotated keypoints."""

import dataclasses

import numpy as np

# Directions in which landmarks move less than this, relative to the largest,
# are rounding of their float32.
_SMALLEST_SINGULAR_VALUE = float(np.finfo(np.float32).eps)


@dataclasses.dataclass(frozen=True)
class LinearMap:
    """Predicts P keypoints from K landmarks, both in pixels."""

    weights: np.ndarray  # float64 [2 * K, P, 2].
    bias: np.ndarray  # float64 [P, 2], pixels.

    def __call__(self, landmarks_px: np.ndarray) -> np.ndarray:
        """Maps `[N, K, 2]`, (y, x), pixels, to `[N, P, 2]`, likewise."""
        flat = _flat(landmarks_px)
        return np.einsum("nk,kpc->npc", flat, self.weights) + self.bias


def fit(
    landmarks_px: np.ndarray, annotations_px: np.ndarray, with_bias: bool
) -> LinearMap:
    """Fits keypoints to landmarks by least squares.

    Each keypoint is fitted on the images that annotate it. Where the images
    leave the map open (fewer of them than coordinates, a landmark that stays
    in place or is another one), the solution of least norm is taken.

    Args:
        landmarks_px: float `[N, K, 2]`, (y, x), in pixels counted from the
            centre of the TOP-LEFT pixel of the view. A map without bias depends
            on that origin: it sends landmarks at the origin to the origin.
        annotations_px: float `[N, P, 2]`, likewise; a point with a NaN is
            missing.
        with_bias: whether the map has a constant term; if not, it is 0.

    Returns:
        The map of all keypoints.

    Raises:
        ValueError: if a keypoint is annotated in none of the images.

    Source: paper, sec. 4.2, and its released code, which fits in pixels too.
    """
    inputs = _flat(landmarks_px)
    annotations = np.asarray(annotations_px, np.float64)
    num_keypoints = annotations.shape[1]
    weights = np.zeros([inputs.shape[1], num_keypoints, 2])
    bias = np.zeros([num_keypoints, 2])
    for keypoint in range(num_keypoints):
        outputs = annotations[:, keypoint]  # [N, 2]
        has_it = np.isfinite(outputs).all(axis=-1)
        if not has_it.any():
            raise ValueError(f"keypoint {keypoint} has no annotation")
        x, y = inputs[has_it], outputs[has_it]
        # With a bias the least-norm rule is for the weights alone.
        x_mean, y_mean = (
            (x.mean(axis=0), y.mean(axis=0)) if with_bias else (0.0, 0.0)
        )
        solution, *_ = np.linalg.lstsq(
            x - x_mean, y - y_mean, rcond=_SMALLEST_SINGULAR_VALUE
        )
        weights[:, keypoint] = solution
        if with_bias:
            bias[keypoint] = y_mean - x_mean @ solution
    return LinearMap(weights, bias)


def mean_shape(annotations_px: np.ndarray) -> np.ndarray:
    """Where each keypoint is on average: what a constant answer would be.

    Args:
        annotations_px: float `[N, P, 2]`; a point with a NaN is missing.

    Returns:
        float64 `[P, 2]`.

    Raises:
        ValueError: if a keypoint is annotated in none of the images.
    """
    annotations = np.asarray(annotations_px, np.float64)
    has_it = np.isfinite(annotations).all(axis=-1, keepdims=True)  # [N, P, 1]
    count = has_it.sum(axis=0)  # [P, 1]
    if not count.all():
        raise ValueError(f"keypoint {int(np.argmin(count))} has no annotation")
    return np.where(has_it, annotations, 0.0).sum(axis=0) / count


def _flat(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return points.reshape(len(points), -1)
