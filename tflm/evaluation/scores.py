"""Fits keypoints to landmarks on some images, scores the fit on others."""

from collections.abc import Callable
import dataclasses
import math

import numpy as np

from tflm import configs
from tflm import coords
from tflm import errors
from tflm.data import shards as shards_lib
from tflm.data import views
from tflm.evaluation import calibration
from tflm.evaluation import correspondence
from tflm.evaluation import detections
from tflm.evaluation import intervals
from tflm.evaluation import matching
from tflm.evaluation import metrics
from tflm.evaluation import regression
from tflm.evaluation import sample_efficiency

VIEW_SIZE = 128  # Errors are in pixels of a view of this side, as in the paper.
DISTANCES_PX = (2, 4, 6, 8, 10, 12, 14, 16, 18, 20)  # Of PCK.
HEADLINE_PX = 6  # Of the tables, as of the paper's.
HOW = (
    "n of the training images that annotate all keypoints, drawn at random"
    " without replacement; then all of them, once as they are and in resamples"
    " with replacement; standard deviations over the draws"
)

_Predictor = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Scored:
    """What figures, files and comparisons need beside the scores."""

    predicted_px: dict[str, np.ndarray]  # Method -> [N, P, 2], of the view.
    matched_px: np.ndarray | None  # [N, P, 2]: each keypoint's own landmark.
    keypoint_map: regression.LinearMap  # Ridge, pixels of the view.
    # Of the map without bias, [N, P]: mean_error_px and, with a normalizing
    # pair, nme_percent; and of each image its clip_ids, index and videos.
    image_errors: dict[str, np.ndarray]


def in_view(points: np.ndarray) -> np.ndarray:
    """Normalised points in pixels of the view that errors are measured in."""
    points = np.asarray(points, np.float64)
    return coords.to_pixels(points, (VIEW_SIZE, VIEW_SIZE))


def score(
    train: detections.Detections,
    test: detections.Detections,
    shards: shards_lib.Shards,
    config: configs.Config,
    val: detections.Detections | None = None,
) -> tuple[dict, Scored]:
    """Fits on `train`, scores on `test` and on `val`.

    Args:
        train: detections of regression_train.
        test: detections of regression_test.
        shards: where they come from.
        config: of the model.
        val: of the validation images, if they are annotated.

    Returns:
        What `metrics.json` holds from num_train to calibration; and what else
        comes of it.

    Raises:
        errors.UserError: if a keypoint is not annotated in `train`, or none is
            in `test`.
    """
    names, pair = shards.keypoint_names, shards.normalizing_pair
    _check_annotated(train.annotations, shards, "regression_train")
    train_px, truth_px = in_view(train.landmarks), in_view(train.annotations)
    test_px, answer_px = in_view(test.landmarks), in_view(test.annotations)
    if not np.isfinite(answer_px).all(axis=-1).any():
        raise errors.UserError(
            f"no image of regression_test of {shards.builder.name} is"
            " annotated; build the dataset with annotated test images"
        )
    maps = {
        prefix + name: regression.fit(landmarks_px, truth_px, with_bias)
        for prefix, landmarks_px in (
            ("", train_px),
            ("untrained_", in_view(train.untrained)),
        )
        for name, with_bias in (("no_bias", False), ("bias", True))
    }
    maps["ridge"] = regression.fit_ridge(train_px, truth_px)
    mean_shape = regression.mean_shape(truth_px)

    def predict(part: detections.Detections) -> dict[str, np.ndarray]:
        """Method -> keypoints `[N, P, 2]`, pixels of the view."""
        predicted = {
            method: fitted(
                in_view(
                    part.untrained
                    if method.startswith("untrained")
                    else part.landmarks
                )
            )
            for method, fitted in maps.items()
        }
        count = len(part.landmarks)
        constant = np.broadcast_to(mean_shape, [count, *mean_shape.shape])
        return {**predicted, "mean_shape": constant}

    predicted_px = predict(test)
    original = {
        method: _in_original(points, test, config)
        for method, points in predicted_px.items()
    }
    answer_original = _in_original(answer_px, test, config)
    test_errors = _errors(predicted_px, answer_px, pair)
    has_unit = bool(test_errors["nme_percent"]) and math.isfinite(
        test_errors["nme_percent"]["mean_shape"]
    )
    unit = "nme_percent" if has_unit else "mean_error_px"

    def efficiency(name: str, score) -> dict | None:
        measured = sample_efficiency.measure(train_px, truth_px, test_px, score)
        return measured and {"of": name, "how": HOW, **measured}

    found = {
        "num_train": len(train_px),
        "num_test": len(test_px),
        **test_errors,
        "nme_original_percent": pair
        and {
            method: metrics.normalized_mean_error(points, answer_original, pair)
            for method, points in original.items()
        },
        "mean_error_original_px": {
            method: metrics.mean_error(points, answer_original)
            for method, points in original.items()
        },
        "validation": val
        and {
            "num_images": len(val.landmarks),
            **_errors(predict(val), in_view(val.annotations), pair),
        },
        **_correct(predicted_px, answer_px, names),
        "pck_original": metrics.percentages_correct(
            original["no_bias"], answer_original, names, DISTANCES_PX
        ),
        "intervals": intervals.measure(
            predicted_px,
            answer_px,
            test.videos,
            pair,
            names,
            (HEADLINE_PX,),
        ),
        "sample_efficiency": efficiency(
            unit,
            lambda points: _errors({"": points}, answer_px, pair)[unit][""],
        ),
        "sample_efficiency_pck": efficiency(
            "pck",
            lambda points: float(
                metrics.mean(
                    metrics.percentage_correct(points, answer_px, HEADLINE_PX)
                )
            ),
        ),
    }
    points_px = train_px, truth_px, test_px, answer_px
    matched_px, has_landmarks = None, test.confidence is not None
    if has_landmarks:
        found["matching"], matched_px = matching.measure(
            *points_px, names, DISTANCES_PX
        )
        found["correspondence"], residuals = correspondence.measure(
            *points_px, pair
        )
        found["calibration"] = calibration.measure(test.confidence, residuals)
    image_errors = {
        "clip_ids": test.clip_ids,
        "index": test.index,
        "videos": test.videos,
        "mean_error_px": metrics.point_errors(
            predicted_px["no_bias"], answer_px
        ),
    }
    if pair:
        image_errors["nme_percent"] = metrics.normalized_point_errors(
            predicted_px["no_bias"], answer_px, pair
        )
    return found, Scored(predicted_px, matched_px, maps["ridge"], image_errors)


def _errors(
    predicted_px: dict[str, np.ndarray],
    answer_px: np.ndarray,
    pair: tuple[int, int] | None,
) -> dict[str, dict[str, float] | None]:
    """`nme_percent` and `mean_error_px` of each method."""
    return {
        "nme_percent": pair
        and {
            method: metrics.normalized_mean_error(points, answer_px, pair)
            for method, points in predicted_px.items()
        },
        "mean_error_px": {
            method: metrics.mean_error(points, answer_px)
            for method, points in predicted_px.items()
        },
    }


def _correct(
    predicted_px: dict[str, np.ndarray],
    answer_px: np.ndarray,
    names: tuple[str, ...],
) -> dict[str, dict]:
    pck = {
        method: metrics.percentages_correct(
            points, answer_px, names, DISTANCES_PX
        )
        for method, points in predicted_px.items()
    }
    return {
        "pck": {
            **pck["no_bias"],
            "untrained": pck["untrained_no_bias"],
            "mean_shape": pck["mean_shape"],
        },
        "pck_bias": {**pck["bias"], "untrained": pck["untrained_bias"]},
    }


def _in_original(
    points_px: np.ndarray,
    part: detections.Detections,
    config: configs.Config,
) -> np.ndarray:
    """Points of the view in pixels of the images that data_prep read.

    Where data_prep cropped, the origin is that of the crop; distances are the
    same.
    """
    points = coords.from_pixels(points_px, (VIEW_SIZE, VIEW_SIZE))
    stored = views.points_from_square(points, part.sizes[:, None], config)
    return np.asarray(stored) / part.scales[:, None]


def _check_annotated(
    annotations: np.ndarray, shards: shards_lib.Shards, role: str
) -> None:
    annotated = np.isfinite(annotations).all(axis=-1).any(axis=0)  # [P]
    if absent := [
        name for name, has in zip(shards.keypoint_names, annotated) if not has
    ]:
        raise errors.UserError(
            f"none of the {len(annotations)} images of {role} of"
            f" {shards.builder.name} annotates {', '.join(absent)}; build the"
            " dataset with such images, or without these keypoints"
        )
