"""One bar per landmark."""

from collections.abc import Sequence

from matplotlib import figure as figures
import numpy as np

from tflm.evaluation.figures import marks


def landmark_bars(
    measured: dict[str, Sequence[float | None]], title: str
) -> figures.Figure:
    """How the landmarks differ: a row of bars for each measurement.

    Args:
        measured: by name, with the unit, which is written at the axis: a number
            of each of the K landmarks, None where there is none.
        title: of the figure.

    Returns:
        Bars in the colours of the landmarks, a dashed line at their mean.
    """
    num_landmarks = len(next(iter(measured.values())))
    colours = marks.landmark_colours(range(num_landmarks))
    width = max(6.0, 0.24 * num_landmarks + 1.5)
    figure = marks.new_figure(width, 1.5 * len(measured) + 0.6, title)
    axes = figure.subplots(len(measured), sharex=True, squeeze=False)[:, 0]
    for axis, (name, values) in zip(axes, measured.items()):
        heights = np.array(values, float)  # None becomes NaN: no bar.
        axis.bar(
            range(num_landmarks),
            heights,
            0.8,
            color=colours,
            edgecolor=marks.GREY,
            linewidth=0.6,
        )
        if np.isfinite(heights).any():
            mean = float(np.nanmean(heights))
            axis.axhline(mean, color=marks.BLACK, linestyle="--", linewidth=1)
            axis.set_title(
                f"mean of the bars {mean:.2f}", fontsize=9, loc="right", pad=4
            )
        axis.set_ylabel(name.replace(", ", ",\n"), fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
    axes[-1].set_xticks(range(num_landmarks))
    axes[-1].set_xlim(-0.7, num_landmarks - 0.3)
    axes[-1].set_xlabel("landmark", fontsize=9)
    return figure
