"""How far predicted points are from annotated ones.

Points are float `[N, P, 2]` in pixels. An annotation with a NaN is missing and
is never counted. Where nothing is left to count, the answer is NaN.
"""

import numpy as np


def point_errors(predicted_px: np.ndarray, annotated_px: np.ndarray):
    """Euclidean distances, float64 `[N, P]`, pixels; NaN where missing."""
    offsets = np.asarray(predicted_px, np.float64) - annotated_px
    return np.sqrt((offsets**2).sum(axis=-1))


def mean_error(predicted_px: np.ndarray, annotated_px: np.ndarray) -> float:
    """Mean distance over all annotated points, pixels."""
    return _mean(point_errors(predicted_px, annotated_px))


def normalized_mean_error(
    predicted_px: np.ndarray,
    annotated_px: np.ndarray,
    normalizing_pair: tuple[int, int],
) -> float:
    """Mean of distances in units of the object's size, in percent.

    Args:
        predicted_px: float `[N, P, 2]`.
        annotated_px: float `[N, P, 2]`.
        normalizing_pair: the keypoints whose annotated distance is the unit
            (of faces: the eyes). Images in which one of them is missing, or
            both are at one place, are not counted.

    Returns:
        The mean over all points counted, percent.

    Source: paper, sec. 4.2; its "MSE normalised by the inter-ocular distance"
    is this mean of distances, nothing is squared.
    """
    first, second = (
        np.asarray(annotated_px[:, index], np.float64)
        for index in normalizing_pair
    )
    unit = np.sqrt(((first - second) ** 2).sum(axis=-1))  # [N]
    unit[unit == 0] = np.nan
    errors = point_errors(predicted_px, annotated_px)
    return 100.0 * _mean(errors / unit[:, None])


def percentage_correct(
    predicted_px: np.ndarray, annotated_px: np.ndarray, distance_px: float
) -> np.ndarray:
    """How many of each keypoint's predictions are close enough (PCK).

    Args:
        predicted_px: float `[N, P, 2]`.
        annotated_px: float `[N, P, 2]`.
        distance_px: a prediction counts as correct if it is at this distance
            or closer (<=).

    Returns:
        float64 `[P]`, percent of the annotated ones; NaN for a keypoint that
        is never annotated.

    Source: paper, sec. 4.3.
    """
    errors = point_errors(predicted_px, annotated_px)
    counted = np.isfinite(errors)
    correct = (counted & (errors <= distance_px)).sum(axis=0)
    total = counted.sum(axis=0)
    return np.where(total, 100.0 * correct / np.maximum(total, 1), np.nan)


def _mean(values: np.ndarray) -> float:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else float("nan")
