"""Do landmarks and keypoints determine each other?

Forward: keypoints are regressed from landmarks; the error is large if the
landmarks miss what the keypoints show. Backward: landmarks are regressed from
keypoints; the error is large if landmarks wander about while the keypoints, and
so the object, are the same. Unstable landmarks can still have a small forward
error, which many of them average; they cannot hide from the backward error.
Errors are mean distances on test images, in pixels and, for faces, in percent
of the distance of the eyes, of linear maps that are fitted on training images:
see `regression.fit`.

Source: Sanchez and Tzimiropoulos, Object landmark discovery through
unsupervised adaptation, NeurIPS 2019, whose errors are in percent.
"""

import numpy as np

from tflm.evaluation import metrics
from tflm.evaluation import regression


def measure(
    train_px: np.ndarray,
    truth_px: np.ndarray,
    test_px: np.ndarray,
    answer_px: np.ndarray,
    normalizing_pair: tuple[int, int] | None = None,
) -> tuple[dict, np.ndarray]:
    """Regresses both ways.

    Images that miss a keypoint cannot say where the landmarks should be: they
    are left out of all that is backward.

    Args:
        train_px: float `[N, K, 2]`, landmarks as for `regression.fit`.
        truth_px: float `[N, P, 2]`, annotations, likewise; a point with a NaN
            is missing.
        test_px: float `[M, K, 2]`, landmarks of the test images.
        answer_px: float `[M, P, 2]`, their annotations.
        normalizing_pair: the keypoints whose distance is the unit of percents,
            the eyes for example; None: there is no such pair.

    Returns:
        A dict: `forward_px`, without bias: `mean` over all points, and the list
        of the `keypoints`; `backward_px`, without bias, and `backward_bias_px`,
        with: `mean`, and the list of the `landmarks`; `percent`: the means of
        `forward`, `backward` and `backward_bias` in percent of the distance of
        the pair, or None without a pair; `backward_images`, how many test
        images annotate all keypoints. What nothing was counted for is NaN. And
        float64 `[M, K]`: the errors of the backward map with bias.

    Raises:
        ValueError: if a keypoint is annotated in none of the training images.
    """
    forward = point_errors(train_px, truth_px, test_px, answer_px, False)
    backward, backward_bias = (
        point_errors(truth_px, train_px, answer_px, test_px, with_bias)
        for with_bias in (False, True)
    )
    found = {
        "forward_px": _means(forward, "keypoints"),
        "backward_px": _means(backward, "landmarks"),
        "backward_bias_px": _means(backward_bias, "landmarks"),
        "percent": None,
        "backward_images": int(_is_whole(answer_px).sum()),
    }
    if normalizing_pair:
        unit = metrics.unit_lengths(answer_px, normalizing_pair)[:, None]
        found["percent"] = {
            "forward": 100.0 * float(metrics.mean(forward / unit)),
            "backward": 100.0 * float(metrics.mean(backward / unit)),
            "backward_bias": 100.0 * float(metrics.mean(backward_bias / unit)),
        }
    return found, backward_bias


def point_errors(
    train_inputs_px: np.ndarray,
    train_outputs_px: np.ndarray,
    test_inputs_px: np.ndarray,
    test_outputs_px: np.ndarray,
    with_bias: bool,
) -> np.ndarray:
    """How far points are from where other points of the image put them.

    Args:
        train_inputs_px: float `[N, I, 2]`; a point with a NaN is missing.
        train_outputs_px: float `[N, J, 2]`, likewise.
        test_inputs_px: float `[M, I, 2]`, likewise.
        test_outputs_px: float `[M, J, 2]`, likewise.
        with_bias: as of `regression.fit`.

    Returns:
        float64 `[M, J]`, pixels; NaN where the point or one of its image's
        inputs is missing, and everywhere if no training image has all inputs.

    Raises:
        ValueError: if an output is missing in all training images that have all
            inputs.
    """
    errors = np.full(test_outputs_px.shape[:2], np.nan)
    is_fitted, is_scored = _is_whole(train_inputs_px), _is_whole(test_inputs_px)
    if not is_fitted.any():
        return errors
    linear_map = regression.fit(
        train_inputs_px[is_fitted], train_outputs_px[is_fitted], with_bias
    )
    errors[is_scored] = metrics.point_errors(
        linear_map(test_inputs_px[is_scored]), test_outputs_px[is_scored]
    )
    return errors


def _is_whole(points_px: np.ndarray) -> np.ndarray:
    """bool `[N]`: which images have all points."""
    return np.isfinite(points_px).all(axis=(1, 2))


def _means(errors: np.ndarray, points: str) -> dict:
    return {
        "mean": float(metrics.mean(errors)),
        points: metrics.mean(errors, axis=0).tolist(),
    }
