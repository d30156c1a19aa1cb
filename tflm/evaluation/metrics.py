"""How far predicted points are from annotated ones.

Points are float `[N, P, 2]` in pixels. An annotation with a NaN is missing and
is never counted. Where nothing is left to count, the answer is NaN.
"""

from collections.abc import Sequence

import numpy as np


def point_errors(predicted_px: np.ndarray, annotated_px: np.ndarray):
    """Euclidean distances, float64 `[N, P]`, pixels; NaN where missing."""
    offsets = np.asarray(predicted_px, np.float64) - annotated_px
    return np.sqrt((offsets**2).sum(axis=-1))


def normalized_point_errors(
    predicted_px: np.ndarray,
    annotated_px: np.ndarray,
    normalizing_pair: tuple[int, int],
) -> np.ndarray:
    """Distances in units of the object's size, in percent.

    Args:
        predicted_px: float `[N, P, 2]`.
        annotated_px: float `[N, P, 2]`.
        normalizing_pair: the keypoints whose annotated distance is the unit
            (of faces: the eyes).

    Returns:
        float64 `[N, P]`, percent; NaN where the point is missing, and in images
        in which one of the pair is missing, or both are at one place.
    """
    unit = unit_lengths(annotated_px, normalizing_pair)
    errors = point_errors(predicted_px, annotated_px)
    return 100.0 * errors / unit[:, None]


def unit_lengths(
    annotated_px: np.ndarray, normalizing_pair: tuple[int, int]
) -> np.ndarray:
    """The distance of two keypoints in each image.

    Args:
        annotated_px: float `[N, P, 2]`.
        normalizing_pair: their indices.

    Returns:
        float64 `[N]`, pixels; NaN where one of them is missing, or both are at
        one place.
    """
    first, second = (
        np.asarray(annotated_px[:, index], np.float64)
        for index in normalizing_pair
    )
    unit = np.sqrt(((first - second) ** 2).sum(axis=-1))
    unit[unit == 0] = np.nan
    return unit


def correct_points(
    predicted_px: np.ndarray, annotated_px: np.ndarray, distance_px: float
) -> np.ndarray:
    """Which predictions are close enough.

    Args:
        predicted_px: float `[N, P, 2]`.
        annotated_px: float `[N, P, 2]`.
        distance_px: a prediction counts as correct if it is at this distance
            or closer (<=).

    Returns:
        float64 `[N, P]`, 100 where correct, 0 where not; NaN where missing.
    """
    errors = point_errors(predicted_px, annotated_px)
    return np.where(np.isnan(errors), np.nan, 100.0 * (errors <= distance_px))


def mean_error(predicted_px: np.ndarray, annotated_px: np.ndarray) -> float:
    """Mean distance over all annotated points, pixels."""
    return float(mean(point_errors(predicted_px, annotated_px)))


def normalized_mean_error(
    predicted_px: np.ndarray,
    annotated_px: np.ndarray,
    normalizing_pair: tuple[int, int],
) -> float:
    """Mean of `normalized_point_errors` over all points counted, percent.

    Source: paper, sec. 4.2; its "MSE normalised by the inter-ocular distance"
    is this mean of distances, nothing is squared.
    """
    errors = normalized_point_errors(
        predicted_px, annotated_px, normalizing_pair
    )
    return float(mean(errors))


def percentage_correct(
    predicted_px: np.ndarray, annotated_px: np.ndarray, distance_px: float
) -> np.ndarray:
    """How many of each keypoint's predictions are close enough (PCK).

    Args:
        predicted_px: as of `correct_points`.
        annotated_px: as of `correct_points`.
        distance_px: as of `correct_points`.

    Returns:
        float64 `[P]`, percent of the annotated ones; NaN for a keypoint that
        is never annotated.

    Source: paper, sec. 4.3.
    """
    correct = correct_points(predicted_px, annotated_px, distance_px)
    return mean(correct, axis=0)


def percentages_correct(
    predicted_px: np.ndarray,
    annotated_px: np.ndarray,
    names: Sequence[str],
    distances_px: Sequence[int],
) -> dict[str, dict[str, float]]:
    """The PCK of named keypoints at several distances.

    Args:
        predicted_px: float `[N, P, 2]`.
        annotated_px: float `[N, P, 2]`.
        names: of the P keypoints.
        distances_px: each as of `correct_points`.

    Returns:
        Per distance ("6": at most 6 pixels) the percent of each keypoint, and
        `mean`, the mean of those that are not NaN.
    """
    table = {}
    for distance in distances_px:
        correct = percentage_correct(predicted_px, annotated_px, distance)
        table[str(distance)] = {
            **dict(zip(names, correct.tolist())),
            "mean": float(mean(correct)),
        }
    return table


def mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Mean of those values that are not NaN, float64; NaN if there are none."""
    counted = ~np.isnan(values)
    total = np.where(counted, values, 0.0).sum(axis=axis)
    count = counted.sum(axis=axis)
    return np.where(count, total / np.maximum(count, 1), np.nan)
