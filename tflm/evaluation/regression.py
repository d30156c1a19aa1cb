"""The linear map from discovered landmarks to annotated keypoints."""

import dataclasses
import math

import numpy as np

# Directions in which landmarks move less than this, relative to the largest,
# are rounding of their float32.
_SMALLEST_SINGULAR_VALUE = float(np.finfo(np.float32).eps)
# Of ridge regression, relative to the largest squared singular value.
_PENALTIES = np.logspace(-6, 2, 17)


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
    return _fit(landmarks_px, annotations_px, with_bias, _least_norm)


def fit_ridge(
    landmarks_px: np.ndarray, annotations_px: np.ndarray
) -> LinearMap:
    """Fits keypoints to landmarks, with a bias, and with shrunken weights.

    For few images. The penalty on the squared weights is the one of the least
    squared error on images left out of the fit, one at a time; the bias is not
    penalised. Not in the paper.

    Args:
        landmarks_px: as of `fit`.
        annotations_px: as of `fit`.

    Returns:
        The map of all keypoints.

    Raises:
        ValueError: if a keypoint is annotated in none of the images.

    Source: Hoerl and Kennard, Ridge Regression, Technometrics 1970; the error
    on a left-out image from its leverage: Allen, Technometrics 1974 (PRESS).
    """
    return _fit(landmarks_px, annotations_px, True, _ridge)


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


def _fit(landmarks_px, annotations_px, with_bias: bool, solve) -> LinearMap:
    inputs = _flat(landmarks_px)
    annotations = np.asarray(annotations_px, np.float64)
    num_keypoints = annotations.shape[1]
    weights = np.zeros([inputs.shape[1], num_keypoints, 2])
    bias = np.zeros([num_keypoints, 2])
    has_it = np.isfinite(annotations).all(axis=-1)  # [N, P]
    if not has_it.any(axis=0).all():
        absent = int(np.argmin(has_it.any(axis=0)))
        raise ValueError(f"keypoint {absent} has no annotation")
    # Keypoints that the same images annotate share their fit.
    patterns, pattern_of = np.unique(has_it, axis=1, return_inverse=True)
    for index, rows in enumerate(patterns.T):
        keypoints = np.flatnonzero(pattern_of.ravel() == index)
        x = inputs[rows]
        y = annotations[rows][:, keypoints].reshape(len(x), -1)
        # With a bias the penalty or least-norm rule is for the weights alone.
        x_mean, y_mean = (
            (x.mean(axis=0), y.mean(axis=0)) if with_bias else (0.0, 0.0)
        )
        solution = solve(x - x_mean, y - y_mean)
        weights[:, keypoints] = solution.reshape(-1, len(keypoints), 2)
        if with_bias:
            offset = y_mean - x_mean @ solution
            bias[keypoints] = offset.reshape(-1, 2)
    return LinearMap(weights, bias)


def _least_norm(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights `[I, J]` of least squares, x `[N, I]` to y `[N, J]`."""
    return np.linalg.lstsq(x, y, rcond=_SMALLEST_SINGULAR_VALUE)[0]


def _ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """As `_least_norm`, penalised; x and y must be of mean 0."""
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    squares, projected = singular**2, left.T @ y
    if not squares.any():  # One image, or landmarks that stay in place.
        return np.zeros([x.shape[1], y.shape[1]])
    penalties = _PENALTIES * squares.max()
    squared_errors = []
    for penalty in penalties:
        kept = squares / (squares + penalty)
        residuals = y - left @ (kept[:, None] * projected)
        leverage = 1.0 / len(x) + left**2 @ kept  # Of the bias and weights.
        left_out = residuals / (1.0 - leverage)[:, None]
        squared_errors.append((left_out**2).mean())
    penalty = penalties[np.argmin(squared_errors)]
    shrunken = (singular / (squares + penalty))[:, None] * projected
    return right.T @ shrunken


def _flat(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return points.reshape(len(points), math.prod(points.shape[1:]))
