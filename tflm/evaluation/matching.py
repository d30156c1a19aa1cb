"""Landmarks as they are, each matched to the keypoint it stays nearest to.

No map is fitted: a keypoint's prediction is one landmark, and no landmark
serves two keypoints. The landmarks are chosen on training images so that the
sum of the keypoints' mean distances is least, and scored on test images.
Distances are in pixels.

Source: paper, sec. 4.3: "a maximally matching unsupervised keypoint is
identified by solving bipartite linear assignment using mean distance as the
cost", and figure 4 (top). The paper does not say on which images.
"""

from collections.abc import Sequence

import numpy as np
from scipy import optimize

from tflm.evaluation import metrics

NO_LANDMARK = -1


def match(landmarks_px: np.ndarray, annotations_px: np.ndarray) -> np.ndarray:
    """Assigns a landmark to each keypoint.

    Args:
        landmarks_px: float `[N, K, 2]`, (y, x), pixels.
        annotations_px: float `[N, P, 2]`, likewise; a point with a NaN is
            missing and is not counted.

    Returns:
        int64 `[P]`: the landmark of each keypoint. If there are fewer landmarks
        than keypoints, those whose match would cost most have NO_LANDMARK.

    Raises:
        ValueError: if a keypoint is annotated in none of the images.
    """
    num_keypoints = annotations_px.shape[1]
    cost = np.stack(
        [
            metrics.mean(
                metrics.point_errors(
                    landmarks_px, annotations_px[:, [keypoint]]
                ),
                axis=0,
            )
            for keypoint in range(num_keypoints)
        ],
        axis=1,
    )  # [K, P]
    is_absent = np.isnan(cost).all(axis=0)
    if is_absent.any():
        raise ValueError(
            f"keypoint {int(np.argmax(is_absent))} has no annotation"
        )
    landmarks, keypoints = optimize.linear_sum_assignment(cost)
    landmark_of = np.full([num_keypoints], NO_LANDMARK)
    landmark_of[keypoints] = landmarks
    return landmark_of


def measure(
    train_px: np.ndarray,
    truth_px: np.ndarray,
    test_px: np.ndarray,
    answer_px: np.ndarray,
    names: Sequence[str],
    distances_px: Sequence[int],
) -> tuple[dict, np.ndarray]:
    """Matches on training images, scores on test images.

    Args:
        train_px: float `[N, K, 2]`, landmarks as for `match`.
        truth_px: float `[N, P, 2]`, annotations, likewise.
        test_px: float `[M, K, 2]`, landmarks of the test images.
        answer_px: float `[M, P, 2]`, their annotations.
        names: of the P keypoints.
        distances_px: of PCK, each as of `metrics.correct_points`.

    Returns:
        A dict: `landmark_of`, the landmark of each keypoint, None if it has
        none; `mean_error_px` of each keypoint, and of all points together,
        `mean`; `pck`, see `metrics.percentages_correct`. Keypoints without a
        landmark are NaN and count for no mean. And float64 `[M, P, 2]`: each
        keypoint's own landmark in the test images, NaN if it has none.

    Raises:
        ValueError: if a keypoint is annotated in none of the training images.
    """
    landmark_of = match(train_px, truth_px)
    has_one = landmark_of != NO_LANDMARK
    matched_px = np.full(answer_px.shape, np.nan)
    matched_px[:, has_one] = test_px[:, landmark_of[has_one]]
    errors = metrics.point_errors(matched_px, answer_px)  # [M, P]
    found = {
        "landmark_of": {
            name: landmark if landmark != NO_LANDMARK else None
            for name, landmark in zip(names, landmark_of.tolist())
        },
        "mean_error_px": {
            **dict(zip(names, metrics.mean(errors, axis=0).tolist())),
            "mean": float(metrics.mean(errors)),
        },
        "pck": metrics.percentages_correct(
            matched_px, answer_px, names, distances_px
        ),
    }
    return found, matched_px
