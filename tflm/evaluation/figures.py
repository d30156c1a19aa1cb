"""Figures of an evaluation.

Landmarks have the colours of `training.pictures.palette`, the same landmark
the same colour in every figure. Points are in pixels of the image drawn.
"""

from collections.abc import Sequence
import dataclasses
import pathlib

from matplotlib import colormaps
from matplotlib import figure as figures
from matplotlib import lines
import numpy as np

from tflm import coords
from tflm import files
from tflm.training import pictures

_DPI = 120
_TILE = 2.0  # Inches, of one image in a grid.
_LARGE_TILE = 2.4
_BLACK, _GREY = "black", "0.35"
# Of Okabe and Ito, "Color universal design": told apart by the colour-blind.
_CURVES = {
    "no_bias": ("without bias", "#0072B2", "o"),
    "bias": ("with bias", "#D55E00", "s"),
    "ridge": ("with bias, ridge", "#009E73", "^"),
}
_TALLEST = 2.5  # Of a curve, in units of the mean shape's error.


@dataclasses.dataclass(frozen=True)
class Keypoints:
    """Regressed keypoints of M images beside their annotations."""

    regressed: np.ndarray  # float [M, P, 2], (y, x), normalised.
    annotated: np.ndarray  # Likewise; NaN where missing.
    errors_px: np.ndarray  # float [M, P], pixels; NaN where missing.
    names: Sequence[str]  # P of them.


def landmarks_on_images(
    images: np.ndarray,
    landmarks: np.ndarray,
    title: str,
    keypoints: Keypoints | None = None,
) -> figures.Figure:
    """Images with their landmarks as coloured dots (paper, figure 3).

    Args:
        images: float `[M, S, S, 3]` in [0, 1].
        landmarks: float `[M, K, 2]`, (y, x), normalised.
        title: of the figure.
        keypoints: of the images; drawn under each row of them on the images
            again: regressed ones as dots, annotated ones as rings, missing
            ones not at all, the mean error of an image above it.

    Returns:
        Rows of four images, under them what the colours mean.
    """
    colours = pictures.palette(landmarks.shape[1])
    columns = min(len(images), _COLUMNS)
    groups = -(-len(images) // columns)
    kinds = 1 if keypoints is None else 2
    heights = [_LARGE_TILE, _LARGE_TILE + 0.25][:kinds] * groups
    keys = [_key_rows(len(colours), _KEY_COLUMNS) + 1]
    if keypoints is not None:
        keys.append(_key_rows(len(keypoints.names) + 2, _NAMED_KEY_COLUMNS))
    heights += [0.2 * rows + 0.1 for rows in keys]
    figure = figures.Figure(
        (max(_LARGE_TILE * columns, 7.0), sum(heights) + 0.6),
        dpi=_DPI,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, hspace=0, wspace=0)
    figure.suptitle(title, fontsize=11)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        axis = figure.add_subplot(grid[kinds * row, column])
        _show(axis, image)
        points_px = coords.to_pixels(landmarks[index], image.shape[:2])
        _dots(axis, points_px, colours, size=34)
        if keypoints is not None:
            axis = figure.add_subplot(grid[kinds * row + 1, column])
            _show(axis, image)
            _draw_keypoints(axis, image.shape[:2], keypoints, index)
    handles = [
        _marker(colour, str(index)) for index, colour in enumerate(colours)
    ]
    key_axis = figure.add_subplot(grid[kinds * groups, :])
    _key(key_axis, handles, _KEY_COLUMNS, title="landmarks")
    if keypoints is not None:
        handles = [
            _marker(_GREY, "regressed"),
            _marker("none", "annotated", edge=_GREY, edge_width=1.5),
            *map(_marker, _keypoint_colours(keypoints), keypoints.names),
        ]
        key_axis = figure.add_subplot(grid[kinds * groups + 1, :])
        _key(key_axis, handles, _NAMED_KEY_COLUMNS)
    return figure


def _keypoint_colours(keypoints: Keypoints) -> np.ndarray:
    return colormaps["tab10"](np.arange(len(keypoints.names)) % 10)[:, :3]


def _draw_keypoints(
    axis, image_size: tuple[int, int], keypoints: Keypoints, index: int
) -> None:
    """The keypoints of one image: dots, rings and lines between them."""
    errors_px = keypoints.errors_px[index]
    has_it = np.isfinite(errors_px)
    if not has_it.any():
        axis.set_title("not annotated", fontsize=9)
        return
    axis.set_title(f"{np.nanmean(errors_px):.1f} px", fontsize=9)
    colours = _keypoint_colours(keypoints)[has_it]
    found, true = (
        coords.to_pixels(points[index][has_it], image_size)
        for points in (keypoints.regressed, keypoints.annotated)
    )
    for start, end, colour in zip(found, true, colours):
        ends = np.stack([start, end], axis=-1)  # [2, 2], rows y and x.
        axis.plot(ends[1], ends[0], color=colour, linewidth=1.5)
    _dots(axis, found, colours, size=26)
    # Under the dots (3) and over the lines (2).
    for edges, width in (("white", 3.2), (colours, 1.6)):
        axis.scatter(
            true[:, 1],
            true[:, 0],
            s=110,
            facecolors="none",
            edgecolors=edges,
            linewidths=width,
            zorder=2.5,
        )


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


def sample_efficiency(
    found: dict[str, list[dict]], mean_shape: float, error: str, title: str
) -> figures.Figure:
    """Error of the linear maps over the number of labelled images.

    Args:
        found: as `sample_efficiency.measure` answers. The error bar of the
            last point is the deviation over resamples.
        mean_shape: error of the mean shape.
        error: its name and unit, written at the axis.
        title: of the figure.

    Returns:
        A curve per map. Points above 2.5 times the mean shape's error are
        numbers at the upper edge.
    """
    figure = figures.Figure((7.0, 5.0), dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=11)
    axis = figure.subplots()
    limit, highest = _TALLEST * mean_shape, mean_shape
    written: dict[int, int] = {}  # n -> numbers at the upper edge.
    for name, (*drawn, resampled) in found.items():
        label, colour, marker = _CURVES[name]
        n, means = (
            np.array([entry[key] for entry in drawn]) for key in ("n", "mean")
        )
        deviations = np.array(
            [entry["std"] for entry in [*drawn[:-1], resampled]]
        )
        is_low = means <= limit
        highest = max(highest, *(means + deviations)[is_low])
        axis.errorbar(
            n,
            np.where(is_low, means, np.nan),
            deviations,
            label=label,
            color=colour,
            marker=marker,
            capsize=3,
            linewidth=1.5,
        )
        for far_n, far in zip(n[~is_low].tolist(), means[~is_low]):
            written[far_n] = written.get(far_n, 0) + 1
            axis.annotate(
                f"\N{UPWARDS ARROW} {far:.3g}",
                (far_n, 1.0),
                (0, -12 * written[far_n]),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                color=colour,
                fontsize=8,
                ha="center",
            )
    axis.axhline(
        mean_shape,
        color=_BLACK,
        linestyle="--",
        linewidth=1.2,
        label="mean shape of all labels",
    )
    axis.set_xscale("log")
    ticks = [*n[n < 0.7 * n[-1]], n[-1]]  # Others would touch the last.
    axis.set_xticks(ticks, [f"{count:,}" for count in ticks], fontsize=9)
    axis.minorticks_off()
    axis.set_ylim(0.0, 1.1 * min(highest, limit))
    axis.set_xlabel("labelled images (log scale; the last: all there are)")
    axis.set_ylabel(error)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    return figure


def save(figure: figures.Figure, path: pathlib.Path) -> None:
    """Writes a PNG, whole or not at all."""
    with files.replacing(path) as partial:
        figure.savefig(partial, format="png", facecolor="white")


_COLUMNS = 4
_KEY_COLUMNS = 15
_NAMED_KEY_COLUMNS = 7


def _key_rows(num_items: int, columns: int) -> int:
    return -(-num_items // columns)


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


def _key(axis, handles, columns: int, title: str | None = None) -> None:
    """Makes of an empty axis what says what the colours mean."""
    columns = min(columns, len(handles))
    axis.set_axis_off()
    axis.legend(
        # matplotlib fills columns; a reader reads rows.
        handles=[h for i in range(columns) for h in handles[i::columns]],
        ncols=columns,
        title=title,
        loc="center",
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
