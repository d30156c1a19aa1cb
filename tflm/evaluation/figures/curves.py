"""Curves: accuracy, sample efficiency, calibration (figures 3 and 4)."""

from collections.abc import Mapping

from matplotlib import figure as figures
from matplotlib import ticker
import numpy as np

from tflm.evaluation.figures import marks

_FITS = {
    "no_bias": ("without bias", marks.CURVES[0], "o"),
    "bias": ("with bias", marks.CURVES[1], "s"),
    "ridge": ("with bias, ridge", marks.CURVES[2], "^"),
}
_LINES = ("-", "--", "-.", ":")
_TALLEST = 2.5  # Of a curve of errors, in units of the reference.
_PAPER_PX = 6  # The distance of the paper's table.
_NAMES_IN_COLUMN = 16


def accuracy_over_distance(
    panels: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    unit: str,
    title: str,
) -> figures.Figure:
    """Share of keypoints found within a distance (paper, figure 4).

    Args:
        panels: by name, the last one what the others should surpass, as the
            mean shape. Each: `pck` of `metrics.json`; distance -> keypoint, or
            `mean`, -> percent. Keys that are no distances are left out.
        unit: of the distances, written at the axis.
        title: of the figure.

    Returns:
        A panel beside the other: a curve per keypoint, their average in black,
        and the average of the last panel dashed in all.
    """
    *_, last = panels.values()
    names = [name for name in next(iter(last.values())) if name != "mean"]
    width = 3.6 * len(panels) + 1.8 * -(-(len(names) + 2) // _NAMES_IN_COLUMN)
    figure = marks.new_figure(width, 3.9, title)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (panel, pck) in zip(axes, panels.items()):
        distances = _distances(pck)
        for index, name in enumerate(names):
            axis.plot(
                distances,
                _percents(pck, name),
                label=name,
                color=marks.CURVES[index % len(marks.CURVES)],
                linestyle=_LINES[index // len(marks.CURVES) % len(_LINES)],
                marker=marks.keypoint_shape(index),
                markersize=4,
                linewidth=1.3,
            )
        axis.plot(
            distances,
            _percents(pck, "mean"),
            label="average",
            color=marks.BLACK,
            linewidth=2.6,
        )
        if pck is not last:
            axis.plot(
                _distances(last),
                _percents(last, "mean"),
                label=f"average,\n{[*panels][-1]}",
                color=marks.GREY,
                linestyle="--",
                linewidth=2,
            )
        axis.axvline(_PAPER_PX, color=marks.GREY, linewidth=0.8, zorder=0)
        axis.set_title(panel, fontsize=10)
        axis.set_xlim(0.0, 1.03 * max(distances))
        axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axis.set_ylim(0.0, 102.0)
        axis.set_xlabel(f"distance, {unit}", fontsize=9)
        axis.tick_params(labelsize=9)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("keypoints within it, %", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside right center",
        ncols=-(-len(labels) // _NAMES_IN_COLUMN),
        fontsize=9,
        frameon=False,
    )
    return figure


def sample_efficiency(
    found: dict[str, list[dict]],
    mean_shape: float,
    label: str,
    title: str,
    higher_is_better: bool = False,
) -> figures.Figure:
    """How good linear maps are over the number of labelled images.

    Args:
        found: as `sample_efficiency.measure` answers. The error bar of the
            last point is the deviation over resamples.
        mean_shape: the same number of the mean shape.
        label: name and unit of the number, written at the axis.
        title: of the figure.
        higher_is_better: whether the number is a percentage of what is right,
            not an error.

    Returns:
        A curve per map, and the mean shape's number as a dashed line. Errors
        above 2.5 times that of the mean shape are numbers at the upper edge.
    """
    figure = marks.new_figure(7.0, 4.6, title)
    axis = figure.subplots()
    limit = np.inf if higher_is_better else _TALLEST * mean_shape
    highest = mean_shape
    written: dict[int, int] = {}  # n -> numbers at the upper edge.
    for name, (*drawn, resampled) in found.items():
        words, colour, marker = _FITS[name]
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
            label=words,
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
        color=marks.BLACK,
        linestyle="--",
        linewidth=1.2,
        label="mean shape of all labels",
    )
    axis.set_xscale("log")
    ticks = [*n[n < 0.7 * n[-1]], n[-1]]  # Others would touch the last.
    axis.set_xticks(ticks, [f"{count:,}" for count in ticks], fontsize=9)
    axis.minorticks_off()
    top = 102.0 if higher_is_better else 1.1 * min(highest, limit)
    axis.set_ylim(0.0, top)
    axis.set_xlabel("labelled images (log scale; the last: all there are)")
    axis.set_ylabel(f"{label},\nmean and deviation over draws")
    axis.grid(alpha=0.3)
    corner = "lower right" if higher_is_better else "upper right"
    axis.legend(fontsize=9, loc=corner)
    return figure


def calibration_curve(found: dict, unit: str, title: str) -> figures.Figure:
    """Error over confidence: it falls where confidence can be trusted.

    Args:
        found: as `calibration.measure` answers.
        unit: of the error, written at the axis.
        title: of the figure.

    Returns:
        A point per bin; in words, the rank correlation.
    """
    figure = marks.new_figure(6.0, 4.0, title)
    axis = figure.subplots()
    bins = found["bins"]
    axis.plot(
        [one["confidence"] for one in bins],
        [one["error_px"] for one in bins],
        color=marks.CURVES[0],
        marker="o",
        linewidth=1.5,
    )
    total = sum(one["count"] for one in bins)
    words = f"{total:,} landmarks in {len(bins)} bins of about equal size"
    pooled = found["pooled"]
    if pooled is not None and np.isfinite(pooled):
        words = f"rank correlation {pooled:+.2f}\n{words}"
    axis.text(
        0.98,
        0.97,
        words,
        ha="right",
        va="top",
        fontsize=9,
        transform=axis.transAxes,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )
    highest = max(one["error_px"] for one in bins)
    axis.set_ylim(0.0, 1.3 * highest or 1.0)
    axis.set_xlabel("confidence, mean of a bin")
    axis.set_ylabel(f"error, {unit}")
    axis.grid(alpha=0.3)
    return figure


def _distances(pck: Mapping[str, Mapping]) -> list[int]:
    return sorted(int(distance) for distance in pck if distance.isdigit())


def _percents(pck: Mapping[str, Mapping], name: str) -> np.ndarray:
    """float `[D]`; NaN where nothing was counted."""
    return np.array([pck[str(d)][name] for d in _distances(pck)], float)
