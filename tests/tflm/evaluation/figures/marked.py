"""What tests read from the axes of a figure."""

from matplotlib.backends import backend_agg
import numpy as np


def dots(axis) -> tuple[np.ndarray, np.ndarray]:
    """Of the filled dots, in the order of their colours: places and RGB.

    Places are (x, y), pixels.
    """
    positions, rgb = [], []
    for collection in axis.collections:
        faces = collection.get_facecolors()
        if len(faces):
            positions.append(collection.get_offsets())
            rgb.append(np.broadcast_to(faces[:, :3], [len(positions[-1]), 3]))
    if not positions:
        raise AssertionError("no dots")
    positions, rgb = np.concatenate(positions), np.concatenate(rgb)
    return positions, rgb


def num_corners(axis) -> list[int]:
    """Of the shape of each collection of filled dots."""
    return [
        len(collection.get_paths()[0])
        for collection in axis.collections
        if len(collection.get_facecolors())
    ]


def key_of(axis) -> list[str]:
    """Names in the key of an axis."""
    return [text.get_text() for text in axis.get_legend().get_texts()]


def inches_outside(figure) -> float:
    """How far anything drawn lies beyond the figure's edge."""
    figure.draw_without_rendering()
    renderer = backend_agg.FigureCanvasAgg(figure).get_renderer()
    drawn = figure.get_tightbbox(renderer)
    for axes in figure.axes:  # It leaves out how long their labels are.
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_visible() and axis.label.get_text():
                label = axis.label.get_window_extent(renderer)
                label = label.transformed(figure.dpi_scale_trans.inverted())
                drawn = drawn.union([drawn, label])
    width, height = figure.get_size_inches()
    return max(-drawn.x0, -drawn.y0, drawn.x1 - width, drawn.y1 - height)
