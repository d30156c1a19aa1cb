"""How good the linear map is with few labelled images (paper, figure 3).

Where n is about the number of coordinates, 2 K, the maps of least squares are
at their worst: they fit the n images exactly, by large weights. The map of
ridge regression is what a person with few labels would use.
"""

from collections.abc import Callable
import functools

import numpy as np

from tflm.evaluation import regression

SIZES = (1, 5, 10, 100, 500, 1_000)
_DRAWS = 10
_RESAMPLES = 3
_SEED = 0
_FITS = {
    "no_bias": functools.partial(regression.fit, with_bias=False),
    "bias": functools.partial(regression.fit, with_bias=True),
    "ridge": regression.fit_ridge,
}


def measure(
    train_px: np.ndarray,
    truth_px: np.ndarray,
    test_px: np.ndarray,
    error: Callable[[np.ndarray], float],
) -> dict[str, list[dict]] | None:
    """Scores maps that are fitted on n images, for growing n.

    The n of `SIZES` that are less than the number of labelled images are drawn
    ten times, at random without replacement, with fixed seeds. Then all are
    used: once as they are, and in three resamples of as many, drawn with
    replacement, which show the deviation.

    Args:
        train_px: float `[N, K, 2]`, landmarks as for `regression.fit`.
        truth_px: float `[N, P, 2]`, annotations, likewise. Only the images
            that annotate all keypoints are used, here they are the labelled
            ones.
        test_px: float `[M, K, 2]`, landmarks as `train_px`.
        error: of predictions `[M, P, 2]`, pixels.

    Returns:
        For each of the maps `no_bias`, `bias` and `ridge` (see `regression`) a
        list of dicts: `n`; `draws`; `with_replacement`; `mean` and `std` of the
        error over the draws. `std` is the sample's (divided by draws - 1), None
        of a single draw. The last dict is of the resamples, the one before it
        of the fit on all. None if no image is labelled.
    """
    is_labelled = np.isfinite(truth_px).all(axis=(1, 2))
    train_px, truth_px = train_px[is_labelled], truth_px[is_labelled]
    count = len(train_px)
    if not count:
        return None
    plans = [(n, _DRAWS, False) for n in SIZES if n < count]
    plans += [(count, 1, False), (count, _RESAMPLES, True)]
    found = {name: [] for name in _FITS}
    for n, draws, with_replacement in plans:
        errors = {name: [] for name in _FITS}
        for draw in range(draws):
            random = np.random.default_rng([_SEED, n, draw])
            drawn = random.choice(count, n, replace=with_replacement)
            for name, fit in _FITS.items():
                linear_map = fit(train_px[drawn], truth_px[drawn])
                errors[name].append(error(linear_map(test_px)))
        for name, of_draws in errors.items():
            found[name].append(
                {
                    "n": n,
                    "draws": draws,
                    "with_replacement": with_replacement,
                    "mean": float(np.mean(of_draws)),
                    "std": float(np.std(of_draws, ddof=1))
                    if draws > 1
                    else None,
                }
            )
    return found
