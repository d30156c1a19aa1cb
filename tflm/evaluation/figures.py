"""Figures of an evaluation.

Landmarks have the colours of `training.pictures.palette`, the same landmark
the same colour in every figure. Points are in pixels of the image drawn.
"""

from collections.abc import Sequence
import os
import pathlib

from matplotlib import colormaps
from matplotlib import figure as figures
from matplotlib import lines
import numpy as np

from tflm import coords
from tflm.training import pictures

_DPI = 120
_TILE = 2.0  # Inches, of one image in a grid.
_BLACK, _GREY = "black", "0.35"


def landmarks_on_images(
    images: np.ndarray, landmarks: np.ndarray, title: str
) -> figures.Figure:
    """Images with their landmarks as coloured dots.

    Args:
        images: float `[M, S, S, 3]` in [0, 1].
        landmarks: float `[M, K, 2]`, (y, x), normalised.
        title: of the figure.

    Returns:
        A grid of the images, under it the colour and number of each landmark.
    """
    colours = pictures.palette(landmarks.shape[1])
    figure, axes = _grid(len(images), title, _key_rows(len(colours)))
    for axis, image, points in zip(axes, images, landmarks):
        _show(axis, image)
        points_px = coords.to_pixels(points, image.shape[:2])
        _dots(axis, points_px, colours, size=28)
    handles = [
        _marker(colour, str(index)) for index, colour in enumerate(colours)
    ]
    _key(figure, handles, columns=_KEY_COLUMNS, title="landmark")
    return figure


def regressed_points(
    images: np.ndarray,
    regressed: np.ndarray,
    annotations: np.ndarray,
    errors_px: np.ndarray,
    keypoint_names: Sequence[str],
    title: str,
) -> figures.Figure:
    """Images with regressed (dots) and annotated (circles) keypoints.

    Args:
        images: float `[M, S, S, 3]` in [0, 1].
        regressed: float `[M, P, 2]`, (y, x), normalised.
        annotations: as `regressed`; a missing point (NaN) is not drawn.
        errors_px: float `[M, P]`, pixels, NaN where missing; their mean is
            written over each image.
        keypoint_names: P names.
        title: of the figure.

    Returns:
        A grid of the images, under it the colour of each keypoint.
    """
    colours = colormaps["tab10"](np.arange(len(keypoint_names)) % 10)[:, :3]
    rows = -(-(len(keypoint_names) + 2) // _NAMED_KEY_COLUMNS)
    figure, axes = _grid(len(images), title, rows, image_titles=True)
    for axis, image, found, true, errors in zip(
        axes, images, regressed, annotations, errors_px
    ):
        _show(axis, image)
        found, true = (
            coords.to_pixels(points, image.shape[:2])
            for points in (found, true)
        )
        for start, end, colour in zip(found, true, colours):
            if np.isfinite(end).all():
                ends = np.stack([start, end], axis=-1)  # [2, 2], rows y and x.
                axis.plot(ends[1], ends[0], color=colour, linewidth=1.5)
        _dots(axis, found[np.isfinite(errors)], colours[np.isfinite(errors)])
        axis.scatter(
            true[:, 1],
            true[:, 0],
            s=45,
            facecolors="none",
            edgecolors="white",
            linewidths=2.6,
            zorder=3,
        )
        axis.scatter(
            true[:, 1],
            true[:, 0],
            s=45,
            facecolors="none",
            edgecolors=colours,
            linewidths=1.3,
            zorder=4,
        )
        if np.isfinite(errors).any():
            axis.set_title(f"{np.nanmean(errors):.1f} px", fontsize=9)
    handles = [
        _marker(_GREY, "regressed"),
        _marker("none", "annotated", edge=_GREY, edge_width=1.5),
        *(_marker(*item) for item in zip(colours, keypoint_names)),
    ]
    _key(figure, handles, columns=_NAMED_KEY_COLUMNS)
    return figure


def score_maps(
    images: np.ndarray,
    detected: dict[str, np.ndarray],
    chosen: Sequence[int],
    title: str,
) -> figures.Figure:
    """How the bottleneck reads landmarks from score maps (paper, figure 2).

    Args:
        images: float `[M, S, S, 3]` in [0, 1].
        detected: arrays as `LandmarkModel.detect` answers for the images.
        chosen: the landmarks shown.
        title: of the figure.

    Returns:
        A row per image: the image, then each chosen landmark's score map, with
        the distribution over rows at its side and over columns above, and the
        landmark as a dot.
    """
    colours = pictures.palette(detected["landmarks"].shape[1])[list(chosen)]
    figure = figures.Figure(
        (2.6 * (len(chosen) + 1), 2.9 * len(images) + 1.1),
        dpi=_DPI,
        layout="constrained",
    )
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(images), len(chosen) + 1, squeeze=False)
    top = max(
        detected[name][..., list(chosen)].max()
        for name in ("row_marginals", "column_marginals")
    )
    for row, image in enumerate(images):
        axis = axes[row, 0]
        _show(axis, image)
        points = detected["landmarks"][row][list(chosen)]
        _dots(axis, coords.to_pixels(points, image.shape[:2]), colours, size=45)
        axis.set_title("chosen landmarks", fontsize=9)
        for column, (landmark, colour) in enumerate(zip(chosen, colours)):
            one = {
                name: values[row, ..., landmark, :]
                if name == "landmarks"
                else values[row, ..., landmark]
                for name, values in detected.items()
            }
            _score_map(axes[row, column + 1], one, landmark, colour, top)
    return figure


def quadruplets(
    source: np.ndarray,
    target: np.ndarray,
    reconstruction: np.ndarray,
    heatmaps: np.ndarray,
    row_names: Sequence[str],
    title: str,
) -> figures.Figure:
    """Source, target, reconstruction, landmarks (paper, figure 2).

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
        "reconstruction\nof the target": np.clip(reconstruction, 0.0, 1.0),
        "landmarks\nof the target": in_colour(heatmaps),
    }
    figure = figures.Figure(
        (_TILE * 4 + 0.6, _TILE * len(source) + 0.9),
        dpi=_DPI,
        layout="constrained",
    )
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(len(source), 4, squeeze=False)
    for column, (name, shown) in enumerate(columns.items()):
        axes[0, column].set_title(name, fontsize=10)
        for row, image in enumerate(shown):
            _show(axes[row, column], image)
    for axis, name in zip(axes[:, 0], row_names):
        axis.set_ylabel(name, fontsize=9)
    return figure


def in_colour(heatmaps: np.ndarray) -> np.ndarray:
    """Gaussian maps `[N, H, W, K]` as RGB `[N, H, W, 3]` on black.

    Where several overlap, the brightest of each channel is shown.
    """
    shown = np.zeros([*heatmaps.shape[:3], 3], np.float32)
    for landmark, colour in enumerate(pictures.palette(heatmaps.shape[-1])):
        shown = np.maximum(shown, heatmaps[..., landmark, None] * colour)
    return np.clip(shown, 0.0, 1.0)


def save(figure: figures.Figure, path: pathlib.Path) -> None:
    """Writes a PNG, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    figure.savefig(partial, format="png", facecolor="white")
    os.replace(partial, path)


_KEY_COLUMNS = 15
_NAMED_KEY_COLUMNS = 5


def _key_rows(num_items: int) -> int:
    return -(-num_items // _KEY_COLUMNS)


def _grid(
    num_images: int, title: str, key_rows: int, image_titles: bool = False
) -> tuple[figures.Figure, list]:
    columns = min(num_images, 4)
    rows = -(-num_images // columns)
    figure = figures.Figure(
        (
            max(_TILE * columns * 1.15, 7.0),
            (_TILE * 1.15 + 0.25 * image_titles) * rows + 0.2 * key_rows + 0.9,
        ),
        dpi=_DPI,
        layout="constrained",
    )
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[num_images:]:
        axis.set_axis_off()
    return figure, list(axes[:num_images])


def _show(axis, image: np.ndarray) -> None:
    """Draws an image without ticks; points drawn on it do not resize it."""
    axis.imshow(image, interpolation="bilinear")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.autoscale(False)


def _dots(axis, points_px: np.ndarray, colours, size: float = 30) -> None:
    axis.scatter(
        points_px[:, 1],
        points_px[:, 0],
        s=size,
        c=colours,
        edgecolors=_BLACK,
        linewidths=0.7,
        zorder=3,
    )


def _marker(
    colour, label: str, edge=_BLACK, edge_width: float = 0.7
) -> lines.Line2D:
    return lines.Line2D(
        [],
        [],
        linestyle="none",
        marker="o",
        markersize=7,
        markerfacecolor=colour,
        markeredgecolor=edge,
        markeredgewidth=edge_width,
        label=label,
    )


def _key(figure, handles, columns: int, title: str | None = None) -> None:
    columns = min(columns, len(handles))
    figure.legend(
        # matplotlib fills columns; a reader reads rows.
        handles=[h for i in range(columns) for h in handles[i::columns]],
        ncols=columns,
        title=title,
        loc="outside lower center",
        fontsize=8,
        title_fontsize=9,
        handletextpad=0.1,
        columnspacing=1.0,
        frameon=False,
    )


def _score_map(axis, detected: dict, landmark: int, colour, top: float) -> None:
    """One landmark: its map, rows' distribution beside, columns' above."""
    scores = detected["score_maps"]
    height, width = scores.shape
    axis.imshow(scores, cmap="gray", interpolation="nearest")
    axis.autoscale(False)
    point = coords.to_pixels(detected["landmarks"], (height, width))
    _dots(axis, point[None], colour[None], size=55)
    axis.set_xticks([0, width - 1])
    axis.set_yticks([])
    axis.set_xlabel("column", fontsize=8, labelpad=-6)
    axis.tick_params(labelsize=7, length=2)

    above = axis.inset_axes((0, 1.03, 1, 0.25))
    above.bar(np.arange(width), detected["column_marginals"], 1, color=colour)
    above.set_xlim(-0.5, width - 0.5)
    above.set_ylim(0, top)
    above.set_xticks([])
    above.set_yticks([top], [f"{top:.2f}"])
    above.tick_params(labelsize=7, length=2)
    above.set_title(
        f"landmark {landmark}, confidence {detected['confidence']:.2f}\n"
        f"scores {scores.min():.3g} to {scores.max():.3g}",
        fontsize=8,
    )

    beside = axis.inset_axes((-0.28, 0, 0.25, 1))
    beside.barh(np.arange(height), detected["row_marginals"], 1, color=colour)
    beside.set_ylim(height - 0.5, -0.5)
    beside.set_xlim(top, 0)
    beside.set_xticks([top], [f"{top:.2f}"])
    beside.set_yticks([0, height - 1])
    beside.set_ylabel("row", fontsize=8, labelpad=-8)
    beside.tick_params(labelsize=7, length=2)
