"""Score maps and Gaussian maps (paper, figure 2)."""

from collections.abc import Sequence

from matplotlib import figure as figures
import numpy as np

from tflm import coords
from tflm.drawing import palette
from tflm.evaluation.figures import marks

_TILE = 2.1  # Inches, of one map with its bars.


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
    figure = marks.new_figure(
        _TILE * (len(chosen) + 1), (_TILE + 0.55) * len(images), title
    )
    marks.tight(figure)
    axes = figure.subplots(len(images), len(chosen) + 1, squeeze=False)
    top = max(
        detected[name][..., list(chosen)].max()
        for name in ("row_marginals", "column_marginals")
    )
    for row, image in enumerate(images):
        axis = axes[row, 0]
        marks.show(axis, image)
        points = detected["landmarks"][row][list(chosen)]
        points_px = coords.to_pixels(points, image.shape[:2])
        marks.landmark_dots(axis, points_px, chosen, size=45)
        axis.set_title("chosen landmarks", fontsize=9)
        for column, landmark in enumerate(chosen):
            one = {
                name: values[row, ..., landmark, :]
                if name == "landmarks"
                else values[row, ..., landmark]
                for name, values in detected.items()
            }
            _score_map(axes[row, column + 1], one, landmark, top)
    return figure


def in_colour(heatmaps: np.ndarray) -> np.ndarray:
    """Gaussian maps `[N, H, W, K]` as RGB `[N, H, W, 3]` on black.

    Where several overlap, the brightest of each channel is shown.
    """
    shown = np.zeros([*heatmaps.shape[:3], 3], np.float32)
    colours = palette.palette(heatmaps.shape[-1])
    for landmark, colour in enumerate(colours):
        shown = np.maximum(shown, heatmaps[..., landmark, None] * colour)
    return np.clip(shown, 0.0, 1.0)


def _score_map(axis, detected: dict, landmark: int, top: float) -> None:
    """One landmark: its map, rows' distribution beside, columns' above."""
    scores = detected["score_maps"]
    height, width = scores.shape
    (colour,) = marks.landmark_colours([landmark])
    bars = {"color": colour, "edgecolor": marks.GREY, "linewidth": 0.3}
    axis.imshow(scores, cmap="gray", interpolation="nearest")
    axis.autoscale(False)
    point = coords.to_pixels(detected["landmarks"], (height, width))
    marks.landmark_dots(axis, point[None], [landmark], size=55)
    axis.set_xticks([0, width - 1])
    axis.set_yticks([])
    axis.set_xlabel("column", fontsize=8, labelpad=-6)
    axis.tick_params(labelsize=7, length=2)

    above = axis.inset_axes((0, 1.03, 1, 0.25))
    above.bar(np.arange(width), detected["column_marginals"], 1, **bars)
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
    beside.barh(np.arange(height), detected["row_marginals"], 1, **bars)
    beside.set_ylim(height - 0.5, -0.5)
    beside.set_xlim(top, 0)
    beside.set_xticks([top], [f"{top:.2f}"])
    beside.set_yticks([0, height - 1])
    beside.set_ylabel("row", fontsize=8, labelpad=-8)
    beside.tick_params(labelsize=7, length=2)
