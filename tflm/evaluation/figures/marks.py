"""What the figures have in common: sizes, colours, dots and keys."""

from collections.abc import Sequence
import textwrap

from matplotlib import figure as figures
from matplotlib import lines
import numpy as np

from tflm.drawing import palette

BLACK, GREY = "black", "0.35"
# Of Okabe and Ito, "Color universal design", without the yellow, which is lost
# on white: told apart by the colour-blind.
CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_SHAPES = ("o", "s", "^", "D")
_AREAS = {"o": 1.0, "s": 0.8, "^": 1.1, "D": 0.65}  # To look equally large.
_DPI = 120
_TITLE_POINTS = 11
_INCHES_PER_LETTER = 0.092  # Of the title, on average.


def new_figure(width: float, height: float, title: str) -> figures.Figure:
    """An empty figure; lines of the title that are too long are broken.

    Args:
        width: in inches.
        height: in inches, without the title.
        title: lines, above all.
    """
    letters = int(width / _INCHES_PER_LETTER)
    wrapped = [
        part
        for line in title.splitlines()
        for part in textwrap.wrap(line, letters)
    ]
    figure = figures.Figure(
        (width, height + 0.2 * len(wrapped) + 0.1),
        dpi=_DPI,
        layout="constrained",
    )
    figure.suptitle("\n".join(wrapped), fontsize=_TITLE_POINTS)
    return figure


def landmark_colours(landmarks: Sequence[int]) -> np.ndarray:
    """float32 `[n, 3]`: the colours of the n landmarks named."""
    chosen = np.asarray(landmarks, int)
    return palette.palette(int(chosen.max(initial=-1)) + 1)[chosen]


def keypoint_colours(num_keypoints: int) -> list[str]:
    """A colour for each keypoint, as hexadecimal text."""
    return [CURVES[index % len(CURVES)] for index in range(num_keypoints)]


def landmark_shape(landmark: int) -> str:
    """Matplotlib's name for the shape of a landmark."""
    return _SHAPES[landmark % len(_SHAPES)]


def keypoint_shape(index: int) -> str:
    """Likewise of a keypoint; 24 have not both colour and shape in common."""
    return _SHAPES[(index + index // 12) % len(_SHAPES)]


def tight(figure: figures.Figure) -> None:
    """Leaves little between the parts of a figure."""
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.04, hspace=0, wspace=0)


def show(axis, image: np.ndarray) -> None:
    """Draws an image, clipped to [0, 1], without ticks.

    Points drawn on it do not resize it.
    """
    axis.imshow(np.clip(image, 0.0, 1.0), interpolation="bilinear")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.autoscale(False)


def dots(axis, points_px: np.ndarray, shapes, colours, size: float) -> None:
    """Draws points; NaN is not drawn.

    Args:
        axis: shows the image.
        points_px: float `[n, 2]`, (y, x), pixels.
        shapes: n.
        colours: n.
        size: area of a round one, in square points.
    """
    _scatter(
        axis,
        points_px,
        shapes,
        size,
        c=list(colours),
        edgecolors=BLACK,
        linewidths=0.7,
        zorder=3,
    )


def rings(axis, points_px: np.ndarray, shapes, colours, size: float) -> None:
    """Draws points as `dots` does, empty, on white; under the dots."""
    for edges, width in ((["white"] * len(colours), 3.2), (colours, 1.6)):
        _scatter(
            axis,
            points_px,
            shapes,
            size,
            facecolors="none",
            edgecolors=list(edges),
            linewidths=width,
            zorder=2.5,
        )


def landmark_dots(
    axis, points_px: np.ndarray, landmarks: Sequence[int], size: float
) -> None:
    """Draws the landmarks named in their colours and shapes; see `dots`."""
    shapes = [*map(landmark_shape, landmarks)]
    dots(axis, points_px, shapes, landmark_colours(landmarks), size)


def marker(
    colour, label: str, shape: str = "o", edge=BLACK, edge_width: float = 0.7
) -> lines.Line2D:
    """A dot of a key."""
    return lines.Line2D(
        [],
        [],
        linestyle="none",
        marker=shape,
        markersize=7 * _AREAS[shape] ** 0.5,
        markerfacecolor=colour,
        markeredgecolor=edge,
        markeredgewidth=edge_width,
        label=label,
    )


def landmark_markers(landmarks: Sequence[int]) -> list[lines.Line2D]:
    """Dots of a key of landmarks, with their numbers."""
    return [
        marker(colour, str(landmark), landmark_shape(landmark))
        for landmark, colour in zip(landmarks, landmark_colours(landmarks))
    ]


def keypoint_markers(names: Sequence[str]) -> list[lines.Line2D]:
    """Dots of a key of keypoints, with their names."""
    return [
        marker(colour, name, keypoint_shape(index))
        for index, (colour, name) in enumerate(
            zip(keypoint_colours(len(names)), names)
        )
    ]


def key_rows(num_items: int, columns: int) -> int:
    """Lines of a key."""
    return -(-num_items // columns)


def key(axis, handles, columns: int, title: str | None = None) -> None:
    """Makes of an empty axis what says what the colours mean."""
    columns = min(columns, len(handles))
    axis.set_axis_off()
    axis.legend(
        # matplotlib fills columns; a reader reads rows.
        handles=[h for i in range(columns) for h in handles[i::columns]],
        ncols=columns,
        title=title,
        loc="center",
        fontsize=9,
        title_fontsize=9,
        handletextpad=0.1,
        columnspacing=1.0,
        frameon=False,
    )


def _scatter(axis, points_px: np.ndarray, shapes, size: float, **style) -> None:
    """One collection per shape."""
    for one in _SHAPES:
        chosen = np.flatnonzero(np.array(shapes) == one)
        if chosen.size:
            axis.scatter(
                points_px[chosen, 1],
                points_px[chosen, 0],
                s=size * _AREAS[one],
                marker=one,
                **{
                    name: [value[index] for index in chosen]
                    if isinstance(value, list)
                    else value
                    for name, value in style.items()
                },
            )
