"""How far measured errors may be from those of all videos like these.

A 95 % interval spans the middle 95 % of what is measured on resamples of the
videos: as many videos, drawn with replacement, the frames of a video together
(percentile bootstrap, Efron and Tibshirani, An Introduction to the Bootstrap,
1993, chapter 13). A still is a video of its own. The interval tells of the
choice of test videos alone: the network and the linear map stay as they are.

All draws have a fixed seed: what is measured twice is the same twice, and all
numbers of the same videos are measured on the same resamples.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from tflm.evaluation import metrics

RESAMPLES = 1_000
SIGN_FLIPS = 9_999
_PERCENTILES = (2.5, 97.5)
_BLOCK = 100  # Sign flips made at a time.
_SEED = 0


def measure(
    predicted_px: Mapping[str, np.ndarray],
    annotated_px: np.ndarray,
    videos: np.ndarray,
    normalizing_pair: tuple[int, int] | None,
    names: Sequence[str],
    distances_px: Sequence[int],
) -> dict:
    """The intervals of what `metrics` measures.

    Args:
        predicted_px: method -> float `[N, P, 2]`; one is "no_bias".
        annotated_px: float `[N, P, 2]`; a point with a NaN is missing.
        videos: `[N]`: images of one id are drawn together. Videos without an
            annotation are not drawn.
        normalizing_pair: as of `metrics.normalized_point_errors`; None: there
            is none.
        names: of the P keypoints.
        distances_px: of PCK, each as of `metrics.correct_points`.

    Returns:
        A dict of `mean_error_px` and, with a normalizing pair, `nme_percent`:
        the interval [low, high] of each method; `pck`, of the method "no_bias":
        per distance ("6") the interval of each keypoint and of their `mean`;
        `resamples`, how many; `unit`, what is drawn. Intervals are NaN if less
        than two videos are annotated. A resample that does not annotate a
        keypoint counts not for its interval, nor the keypoint for the
        resample's mean.
    """
    video_of = _numbered(videos)
    found = {
        "mean_error_px": {
            method: _interval_of_mean(
                metrics.point_errors(points, annotated_px), video_of
            )
            for method, points in predicted_px.items()
        }
    }
    if normalizing_pair is not None:
        found["nme_percent"] = {
            method: _interval_of_mean(
                metrics.normalized_point_errors(
                    points, annotated_px, normalizing_pair
                ),
                video_of,
            )
            for method, points in predicted_px.items()
        }
    pck = {}
    for distance in distances_px:
        correct = metrics.correct_points(
            predicted_px["no_bias"], annotated_px, distance
        )
        means = _resampled_means(*_video_sums(correct, video_of))  # [R, P]
        pck[str(distance)] = {
            **{name: _interval(of_one) for name, of_one in zip(names, means.T)},
            "mean": _interval(metrics.mean(means, axis=1)),
        }
    return {**found, "pck": pck, "resamples": RESAMPLES, "unit": "videos"}


def paired_difference(
    errors: np.ndarray, other_errors: np.ndarray, videos: np.ndarray
) -> dict:
    """Tests whether two runs differ on the same images.

    Args:
        errors: float `[N]` or `[N, P]` of one run, per image or per point; NaN
            is not counted.
        other_errors: likewise of the other run, in the same order.
        videos: `[N]`.

    Returns:
        A dict: `mean` of errors - other_errors, over all that both runs have
        (below 0: the first run is the better); its 95 % `interval` [low, high],
        of videos drawn with replacement; `p`, two-sided: how often the mean is
        as far from 0 or farther if the difference of each video gets a sign at
        random, which changes nothing if the runs are equally good; `videos`,
        the number of those counted. With one video there is no interval (NaN)
        and p is 1; with none, mean and p are NaN.

    Source: sign flips: Fisher, The Design of Experiments, 1935, section 21;
    p = (count + 1) / (flips + 1): Phipson and Smyth, Permutation P-values
    Should Never Be Zero, 2010.
    """
    differences = np.asarray(errors, np.float64) - other_errors
    video_of = _numbered(videos)
    sums, counts = _pooled(differences, video_of)
    num_videos = len(sums)
    if not num_videos:
        nan = float("nan")
        return {"mean": nan, "interval": [nan, nan], "p": nan, "videos": 0}
    return {
        "mean": float(sums.sum() / counts.sum()),
        "interval": _interval_of_mean(differences, video_of),
        "p": _sign_flip_p(sums[:, 0]),
        "videos": num_videos,
    }


def _numbered(videos: np.ndarray) -> np.ndarray:
    """The number of each image's video, int `[N]`, 0 to C - 1."""
    return np.unique(videos, return_inverse=True)[1]


def _interval_of_mean(values: np.ndarray, video_of: np.ndarray) -> list[float]:
    """Of the mean over all values `[N, ...]` that are not NaN."""
    return _interval(_resampled_means(*_pooled(values, video_of))[:, 0])


def _interval(replicates: np.ndarray) -> list[float]:
    counted = replicates[~np.isnan(replicates)]
    if not counted.size:
        return [float("nan")] * 2
    return np.percentile(counted, _PERCENTILES).tolist()


def _pooled(
    values: np.ndarray, video_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `_video_sums`, `[C, 1]`, over all of a video's values together."""
    sums, counts = _video_sums(values.reshape(len(values), -1), video_of)
    return sums.sum(axis=1, keepdims=True), counts.sum(axis=1, keepdims=True)


def _video_sums(
    values: np.ndarray, video_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts `[C, J]` of values `[N, J]`, of videos that have any."""
    num_videos = video_of.max(initial=-1) + 1
    counted = ~np.isnan(values)
    sums = np.zeros([num_videos, values.shape[1]])
    counts = np.zeros_like(sums)
    np.add.at(sums, video_of, np.where(counted, values, 0.0))
    np.add.at(counts, video_of, counted)
    has_any = counts.any(axis=1)
    return sums[has_any], counts[has_any]


def _resampled_means(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means `[RESAMPLES, J]` of drawn videos; NaN where they count nothing."""
    num_videos, num_means = sums.shape
    means = np.full([RESAMPLES, num_means], np.nan)
    if num_videos < 2:  # All resamples are the same: nothing is known.
        return means
    random = np.random.default_rng(_SEED)
    for of_resample in means:
        drawn = random.integers(num_videos, size=num_videos)
        times = np.bincount(drawn, minlength=num_videos)
        count = times @ counts  # [J]
        np.divide(times @ sums, count, out=of_resample, where=count > 0)
    return means


def _sign_flip_p(sums: np.ndarray) -> float:
    """Two-sided p of the sums of differences `[C]` of videos."""
    # What is equal may differ by rounding.
    least = np.abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    as_far = sum(
        int((np.abs(signs @ sums) >= least).sum())
        for signs in _random_signs(len(sums))
    )
    return (as_far + 1) / (SIGN_FLIPS + 1)


def _random_signs(num_videos: int) -> Iterator[np.ndarray]:
    """SIGN_FLIPS rows of 1 and -1 in blocks of float `[<= _BLOCK, C]`."""
    random = np.random.default_rng(_SEED)
    for start in range(0, SIGN_FLIPS, _BLOCK):
        num_rows = min(_BLOCK, SIGN_FLIPS - start)
        is_flipped = random.integers(2, size=[num_rows, num_videos])
        yield 1.0 - 2.0 * is_flipped
