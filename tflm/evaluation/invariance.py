"""How far landmarks move with each factor of an image (paper, sec. 4.4).

A factor is anything that was set when an image was taken and is known as an
integer: azimuth, elevation, lighting, the object itself. The spread of a
landmark over a factor is the root mean square distance from its mean place in
images that differ in this factor alone. An angle is treated as any other
factor.

These are places in the image, not on the object: a landmark that stays on a
wheel moves with the car's azimuth. A landmark that does not look at the image
has no spread at all; `measure` can rank such ones last. And if the zero of a
factor is arbitrary for each object, as the azimuth of Small NORB is, the spread
over objects contains that.

The paper shows the most stable landmarks (figure 6) and has no numbers.
"""

from collections.abc import Collection
from collections.abc import Mapping
import dataclasses

import numpy as np

_FIGURES = (("elevation", "azimuth"), ("instance", "lighting"))
_MOST_ROWS = 5
_MOST_COLUMNS = 6


@dataclasses.dataclass(frozen=True)
class Grid:
    """Images of all pairs of values of two factors, the others held fixed."""

    row_name: str  # The factor that changes from row to row.
    column_name: str
    row_labels: tuple[str, ...]  # Its R values, increasing.
    column_labels: tuple[str, ...]  # C values, likewise.
    index: np.ndarray  # int64 [R, C]: which of the N images.


def measure(
    landmarks_px: np.ndarray,
    factors: Mapping[str, np.ndarray],
    dead: Collection[int] = (),
) -> dict:
    """Measures the spread of landmarks over each factor.

    Args:
        landmarks_px: float `[N, K, 2]`, (y, x), pixels.
        factors: name -> int `[N]`, at least one. An image that differs from
            each other one in two factors or more does not count.
        dead: landmarks to rank last, however little they move.

    Returns:
        A dict: `factors`, name -> a list of K spreads, pixels, NaN if no two
        images differ in this factor alone; `overall`, a list of K, the root
        mean square distance from the mean place in all images; `ranking`, the
        landmarks, that of the least overall spread first.
    """
    landmarks_px = np.asarray(landmarks_px, np.float64)
    overall = _spread(landmarks_px, [np.arange(len(landmarks_px))])
    is_dead = np.isin(np.arange(len(overall)), list(dead))
    return {
        "factors": {
            name: _spread(
                landmarks_px,
                [
                    members
                    for members in _alike(factors, but_for=(name,))
                    if np.ptp(values[members]) > 0
                ],
            ).tolist()
            for name, values in factors.items()
        },
        "overall": overall.tolist(),
        "ranking": np.lexsort((overall, is_dead)).tolist(),
    }


def grids(factors: Mapping[str, np.ndarray]) -> list[Grid]:
    """Chooses the views of figure 6, of the factors that there are.

    Args:
        factors: as of `measure`.

    Returns:
        Elevation by azimuth, and instance by lighting, each as of `grid`;
        those that can be filled.
    """
    chosen = [
        grid(factors, row, column)
        for row, column in _FIGURES
        if row in factors and column in factors
    ]
    return [one for one in chosen if one is not None]


def grid(
    factors: Mapping[str, np.ndarray], row: str, column: str
) -> Grid | None:
    """Chooses images of all pairs of values of two factors.

    The other factors have the values that give the largest grid, the first of
    these in order. Of many rows and columns a few are taken, evenly spaced,
    with the first and the last.

    Args:
        factors: as of `measure`.
        row: the factor that changes from row to row.
        column: the factor that changes from column to column.

    Returns:
        A grid without gaps, or None if there is none of two rows and columns.
    """
    best = np.zeros([0, 0], np.int64)
    for members in _alike(factors, but_for=(row, column)):
        found = _complete(members, factors[row], factors[column])
        if found.size > best.size and min(found.shape) > 1:
            best = found
    if not best.size:
        return None
    rows = _evenly(best.shape[0], _MOST_ROWS)
    columns = _evenly(best.shape[1], _MOST_COLUMNS)
    best = best[np.ix_(rows, columns)]
    return Grid(
        row,
        column,
        tuple(str(value) for value in factors[row][best[:, 0]]),
        tuple(str(value) for value in factors[column][best[0]]),
        best,
    )


def _complete(
    members: np.ndarray, row_values: np.ndarray, column_values: np.ndarray
) -> np.ndarray:
    """Members by row and column, int `[R, C]`, without those that have gaps.

    Columns are left out that lack one of the rows; the first member of a place
    is taken.
    """
    rows, row_of = np.unique(row_values[members], return_inverse=True)
    columns, column_of = np.unique(column_values[members], return_inverse=True)
    table = np.full([len(rows), len(columns)], -1)
    table[row_of[::-1], column_of[::-1]] = members[::-1]
    return table[:, (table >= 0).all(axis=0)]


def _evenly(count: int, most: int) -> np.ndarray:
    return np.rint(np.linspace(0, count - 1, min(count, most))).astype(int)


def _spread(landmarks_px: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """Root mean square distance from the mean of a group, float64 `[K]`."""
    if not groups:
        return np.full([landmarks_px.shape[1]], np.nan)
    squared = [
        ((part - part.mean(axis=0)) ** 2).sum(axis=-1)  # [n, K]
        for part in (landmarks_px[members] for members in groups)
    ]
    return np.sqrt(np.concatenate(squared).mean(axis=0))


def _alike(
    factors: Mapping[str, np.ndarray], but_for: tuple[str, ...]
) -> list[np.ndarray]:
    """Groups of images that agree in all factors but some, each int `[n]`."""
    held = [values for name, values in factors.items() if name not in but_for]
    if not held:
        return [np.arange(len(factors[but_for[0]]))]
    _, group = np.unique(np.stack(held), axis=1, return_inverse=True)
    group = group.reshape(-1)  # [N]
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
