"""Grids of images: reconstructions, swaps, views (figures 2, 5, 6 and 7)."""

from collections.abc import Sequence

from matplotlib import figure as figures
import numpy as np

from tflm import coords
from tflm.evaluation.figures import maps
from tflm.evaluation.figures import marks

_TILE = 2.0  # Inches, of one image.
_SMALL_TILE = 1.35  # Of grids with many.
_NARROWEST = 6.0
_KEY_COLUMNS = 10


def quadruplets(
    source: np.ndarray,
    target: np.ndarray,
    reconstruction: np.ndarray,
    heatmaps: np.ndarray,
    row_names: Sequence[str],
    title: str,
) -> figures.Figure:
    """Source, target, reconstruction, landmarks (paper, figures 2 and 5).

    Args:
        source: float `[N, S, S, 3]` in [0, 1].
        target: as `source`.
        reconstruction: as `source`, unbounded; shown clipped.
        heatmaps: float `[N, H, W, K]` in [0, 1], of the target's landmarks.
        row_names: what each pair is.
        title: of the figure.

    Returns:
        A row of four images per pair.
    """
    columns = {
        "source": source,
        "target": target,
        "reconstruction\nof the target": reconstruction,
        "landmarks\nof the target": maps.in_colour(heatmaps),
    }
    figure = marks.new_figure(_TILE * 4 + 0.3, _TILE * len(source) + 0.4, title)
    marks.tight(figure)
    axes = figure.subplots(len(source), 4, squeeze=False)
    for column, (name, shown) in enumerate(columns.items()):
        axes[0, column].set_title(name, fontsize=10)
        for row, image in enumerate(shown):
            marks.show(axes[row, column], image)
    for axis, name in zip(axes[:, 0], row_names):
        axis.set_ylabel(name, fontsize=9)
    return figure


def swap_grid(
    styles: np.ndarray,
    geometries: np.ndarray,
    swapped: np.ndarray,
    title: str,
) -> figures.Figure:
    """Every geometry redrawn in every style (paper, figure 7).

    Args:
        styles: float `[C, S, S, 3]` in [0, 1], the sources.
        geometries: float `[R, S, S, 3]` in [0, 1], the targets.
        swapped: float `[R, C, S, S, 3]`, unbounded, shown clipped: row r is of
            the landmarks of geometry r, column c in style c.
        title: of the figure.

    Returns:
        The styles are the first row, the geometries the first column.
    """
    rows, columns = len(geometries) + 1, len(styles) + 1
    figure = _grid_figure(columns, rows, 0.3, title)
    axes = figure.subplots(rows, columns, squeeze=False)
    axes[0, 0].set_axis_off()
    axes[0, 0].text(
        0.5,
        0.5,
        "style \N{RIGHTWARDS ARROW}\n\ngeometry \N{DOWNWARDS ARROW}",
        ha="center",
        va="center",
        fontsize=9,
        transform=axes[0, 0].transAxes,
    )
    for column, style in enumerate(styles):
        marks.show(axes[0, column + 1], style)
        _frame(axes[0, column + 1])
    for row, geometry in enumerate(geometries):
        marks.show(axes[row + 1, 0], geometry)
        _frame(axes[row + 1, 0])
        for column, image in enumerate(swapped[row]):
            marks.show(axes[row + 1, column + 1], image)
    return figure


def landmark_grid(
    images: np.ndarray,
    landmarks: np.ndarray,
    chosen: Sequence[int],
    axes_names: tuple[str, str],
    labels: tuple[Sequence[str], Sequence[str]],
    title: str,
) -> figures.Figure:
    """Landmarks on an object under changing conditions (paper, figure 6).

    Args:
        images: float `[R, C, S, S, 3]` in [0, 1].
        landmarks: float `[R, C, K, 2]`, (y, x), normalised.
        chosen: the landmarks drawn, as the most stable ones.
        axes_names: what changes from row to row, and from column to column.
        labels: of the R rows, and of the C columns.
        title: of the figure.

    Returns:
        A grid of images, under it what the colours and shapes mean.
    """
    rows, columns = images.shape[:2]
    key_rows = marks.key_rows(len(chosen), _KEY_COLUMNS) + 1
    key_height = 0.2 * key_rows + 0.1
    row_name, column_name = axes_names
    figure = _grid_figure(
        columns, rows, key_height + 0.6, f"{title}\n{column_name}"
    )
    grid = figure.add_gridspec(
        rows + 1, columns, height_ratios=[_SMALL_TILE] * rows + [key_height]
    )
    row_labels, column_labels = labels
    for row in range(rows):
        for column in range(columns):
            axis = figure.add_subplot(grid[row, column])
            marks.show(axis, images[row, column])
            points_px = coords.to_pixels(
                landmarks[row, column][list(chosen)], images.shape[2:4]
            )
            marks.landmark_dots(axis, points_px, chosen, size=28)
            if row == 0:
                axis.set_title(column_labels[column], fontsize=9)
            if column == 0:
                axis.set_ylabel(row_labels[row], fontsize=9)
    figure.supylabel(row_name, fontsize=11)
    key_axis = figure.add_subplot(grid[rows, :])
    marks.key(
        key_axis,
        marks.landmark_markers(chosen),
        _KEY_COLUMNS,
        "landmarks",
    )
    return figure


def _grid_figure(
    columns: int, rows: int, more_height: float, title: str
) -> figures.Figure:
    width = max(_SMALL_TILE * columns + 0.6, _NARROWEST)
    figure = marks.new_figure(width, _SMALL_TILE * rows + more_height, title)
    marks.tight(figure)
    return figure


def _frame(axis) -> None:
    """Marks an image that is given, not made."""
    for spine in axis.spines.values():
        spine.set(color=marks.CURVES[0], linewidth=2.5)
