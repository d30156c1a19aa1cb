"""Do landmarks move with the image? Needs no annotation.

Landmarks are found in an image x and in a random warp of it. The warp shows at
a point u what x has at the place g(u). So where a landmark is found in the warp
its place g(u) should be where it was found in x; the error is the distance
between the two, in pixels of the view of `scores.VIEW_SIZE`.

A landmark of an image counts if the warped view shows the spot it was found at
in x: otherwise it cannot be found again. Whether it counts does not depend on
where it is found in the warp.

The warp is that of the released code's sources, whatever a run was trained
with: so the numbers of several runs can be compared.

Compare each error with that of the same landmarks if they stayed put: near the
centre, where those of an untrained network are, a warp moves the image less.
Not in the paper.
"""

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm.data import warps
from tflm.evaluation import metrics
from tflm.evaluation import scores
from tflm.models import landmark_model

_SEED = 0
_BATCH_SIZE = 64


def measure(
    model: landmark_model.LandmarkModel,
    untrained: landmark_model.LandmarkModel,
    images: np.ndarray,
    warp: configs.WarpConfig = configs.RELEASED_SOURCE_WARP,
) -> dict:
    """Measures the consistency of landmarks under the same random warps.

    Args:
        model: with trained weights.
        untrained: the model that training starts from.
        images: float32 `[N, S, S, 3]` in [0, 1].
        warp: standard deviations of the warps.

    Returns:
        A dict: `px`, the mean error of all landmarks counted; `landmarks`, a
        list of K, each one's mean; `still_px`, the mean error of the same
        landmarks if they did not move with the warp; `untrained_px` and
        `untrained_still_px`, likewise of the untrained model;
        `counted_percent`, of the model's landmarks; and `num_images`. NaN where
        nothing is counted.
    """
    coefficients = warps.random_coefficients(
        warp, len(images), tf.constant([_SEED, 0])
    ).numpy()
    size = images.shape[1]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, size, size, 3]),
            tf.TensorSpec([None, *coefficients.shape[1:]]),
        ]
    )
    def find(batch, batch_coefficients):
        warped = warps.warp(batch, batch_coefficients)
        return [
            (one.detect(batch)["landmarks"], one.detect(warped)["landmarks"])
            for one in (model, untrained)
        ]

    parts = []
    for start in range(0, len(images), _BATCH_SIZE):
        now = slice(start, start + _BATCH_SIZE)
        parts.append(
            [
                errors(before, found, coefficients[now])
                for before, after in find(images[now], coefficients[now])
                for found in (after, before)
            ]
        )
    errors_px, still_px, untrained_px, untrained_still_px = map(
        np.concatenate, zip(*parts)
    )
    return {
        "px": float(metrics.mean(errors_px)),
        "landmarks": metrics.mean(errors_px, axis=0).tolist(),
        "still_px": float(metrics.mean(still_px)),
        "untrained_px": float(metrics.mean(untrained_px)),
        "untrained_still_px": float(metrics.mean(untrained_still_px)),
        "counted_percent": 100.0 * float(np.isfinite(errors_px).mean()),
        "num_images": len(images),
    }


def errors(
    before: np.ndarray, after: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
    """Distances between where landmarks are and where they were.

    Args:
        before: float `[B, K, 2]`, (y, x), normalised, found in the images.
        after: likewise, found in the warped images.
        coefficients: of the warps, see `warps.random_coefficients`.

    Returns:
        float64 `[B, K]`, pixels of the view; NaN where the warped view does
        not show the spot `before`.
    """
    before, after = np.asarray(before), np.asarray(after)
    places = warps.sampled_places(coefficients, np.float64(after)).numpy()
    distances = metrics.point_errors(
        scores.in_view(places), scores.in_view(before)
    )
    is_shown = warps.shows(coefficients, np.float64(before)).numpy()
    return np.where(is_shown, distances, np.nan)
