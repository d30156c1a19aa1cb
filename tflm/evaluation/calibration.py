"""Does a landmark of low confidence have a large error?

A landmark has no true place. Its error is how far it is from where the
annotated keypoints of its image put it, pixels: see `correspondence`. The
confidence is that of `landmark_model.confidence`, in [0, 1]. Rank correlations
are Spearman's: -1 if the error always falls as the confidence grows, 0 if the
one says nothing of the other. Not in the paper.
"""

import numpy as np
from scipy import stats

_MOST_BINS = 10


def measure(confidence: np.ndarray, errors_px: np.ndarray) -> dict | None:
    """Compares the confidence of landmarks with their errors.

    Args:
        confidence: float `[N, K]`.
        errors_px: float `[N, K]`; NaN is not counted.

    Returns:
        A dict: `rank_correlation`, a list of K, over the images; `pooled`, the
        one over all landmarks of all images, which also tells whether landmarks
        of low confidence are the bad ones; `bins`, tenths of these by
        confidence, the lowest first: mean `confidence`, mean `error_px` and
        `count`. Equal confidences share a bin, so that there may be fewer. A
        correlation is NaN if all confidences, or all errors, are equal. None if
        nothing is counted.
    """
    counted = ~np.isnan(errors_px)
    if not counted.any():
        return None
    confidence = np.asarray(confidence, np.float64)
    by_landmark = [
        _rank_correlation(confidence[rows, landmark], errors_px[rows, landmark])
        for landmark, rows in enumerate(counted.T)
    ]
    confidence, errors_px = confidence[counted], errors_px[counted]  # [V]
    edges = np.quantile(confidence, np.arange(1, _MOST_BINS) / _MOST_BINS)
    bin_of = np.searchsorted(edges, confidence)
    return {
        "rank_correlation": by_landmark,
        "pooled": _rank_correlation(confidence, errors_px),
        "bins": [
            {
                "confidence": float(confidence[bin_of == one].mean()),
                "error_px": float(errors_px[bin_of == one].mean()),
                "count": int((bin_of == one).sum()),
            }
            for one in np.unique(bin_of)
        ],
    }


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of ranks; equal values share their mean rank."""
    if not first.size or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    ranks = stats.rankdata([first, second], axis=1)
    return float(np.corrcoef(ranks)[0, 1])
