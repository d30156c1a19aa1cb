"""Whether an exported model answers as the Keras model does, and how fast."""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
import time

import numpy as np

from tflm.evaluation import scores

# From one batch of inputs to named outputs.
Run = Callable[..., dict[str, np.ndarray]]

_TIMED_RUNS = 20


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far from Keras an exported model may be; None: not bounded."""

    mean_px: float | None = None  # Of landmarks; see `Agreement`.
    worst_px: float | None = None
    max_px: float | None = None
    difference: float = 1e-3


TOLERANCES = {
    "float32": Tolerance(max_px=0.02),
    "float16": Tolerance(max_px=0.1, difference=0.01),
    "dynamic": Tolerance(mean_px=0.5, worst_px=1.0, difference=0.1),
    "int8": Tolerance(mean_px=0.5, worst_px=1.0, difference=0.1),
}


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Differences from Keras; distances in pixels of a view of 128 x 128."""

    mean_px: float  # Mean distance of landmarks.
    worst_px: float  # Of the landmark whose own mean is the largest.
    max_px: float  # The largest distance of all.
    difference: float  # Of other outputs: the largest mean of a batch.

    def beyond(self, tolerance: Tolerance) -> str | None:
        """What is too much, in words; None if nothing is."""
        for value, limit, words in (
            (self.mean_px, tolerance.mean_px, "px on average"),
            (self.worst_px, tolerance.worst_px, "px at one landmark"),
            (self.max_px, tolerance.max_px, "px at most"),
            (self.difference, tolerance.difference, "in another output"),
        ):
            if limit is not None and not value <= limit:  # NaN is too much.
                return f"by {value:.2g} {words}, more than {limit:g}"
        return None


def compare(
    pairs: Iterable[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]],
    view_fraction: float = 1.0,
) -> Agreement:
    """Compares answers with Keras' answers to the same inputs.

    Args:
        pairs: of answer and expected answer, whose outputs are compared.
            `landmarks`, in one of them at least, are `[N, K, 2]`, fractions;
            all others are numbers of any shape, integers levels of 255.
        view_fraction: side of the view over that of the image whose fractions
            the landmarks are.

    Returns:
        The differences over all pairs; NaN if an answer is not a number.
    """
    distances, differences = [], [0.0]
    for answer, expected in pairs:
        for name, value in expected.items():
            unit = 255.0 if np.issubdtype(value.dtype, np.integer) else 1.0
            apart = np.abs(answer[name] - value.astype(np.float64)) / unit
            if name == "landmarks":
                size_px = (scores.VIEW_SIZE - 1) / view_fraction
                apart_px = size_px * np.linalg.norm(apart, axis=-1)
                distances.append(apart_px)  # [N, K]
            else:
                differences.append(np.mean(apart))
    every = np.concatenate(distances)
    return Agreement(
        mean_px=float(np.mean(every)),
        worst_px=float(np.max(np.mean(every, axis=0))),
        max_px=float(np.max(every)),
        difference=float(np.max(differences)),
    )


def milliseconds(run: Callable[[], object]) -> float:
    """Median duration of a call, once it is warm."""
    run()
    seconds = []
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))
