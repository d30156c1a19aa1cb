"""Landmarks and keypoints on images (paper, figures 3 and 4)."""

from collections.abc import Sequence
import dataclasses

from matplotlib import figure as figures
import numpy as np

from tflm import coords
from tflm.evaluation.figures import marks

_TILE = 2.4  # Inches, of one image.
_COLUMNS = 4
_KEY_COLUMNS = 15
_KEY_LETTERS = 100  # Of the names in a row of a key, for a figure of 4 images.


@dataclasses.dataclass(frozen=True)
class Keypoints:
    """Keypoints that were found in M images, beside their annotations."""

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
        Rows of four images, under them what the colours and shapes mean.
    """
    num_landmarks = landmarks.shape[1]

    def draw_landmarks(axis, index):
        points_px = coords.to_pixels(landmarks[index], images.shape[1:3])
        marks.landmark_dots(axis, points_px, range(num_landmarks), size=34)

    draws = [draw_landmarks]
    keys = [(marks.landmark_markers(range(num_landmarks)), "landmarks")]
    if keypoints is not None:
        draws.append(_keypoint_drawer(images, keypoints))
        keys.append((_keypoint_key("regressed", keypoints.names), None))
    return _tiles(images, draws, [""] * len(draws), keys, title)


def matched_landmarks(
    images: np.ndarray,
    matched: Keypoints,
    regressed: Keypoints,
    landmark_of: dict[str, int | None],
    title: str,
) -> figures.Figure:
    """The landmark of each keypoint beside what all give (paper, figure 4).

    Args:
        images: float `[M, S, S, 3]` in [0, 1].
        matched: its `regressed` are, as they are, the landmarks that are
            matched to the keypoints, NaN where there is none for a keypoint.
        regressed: the keypoints regressed from all landmarks.
        landmark_of: of each keypoint, the number of its landmark, if any.
        title: of the figure.

    Returns:
        Under each row of four images with matched landmarks the same images
        with regressed keypoints; the mean error of an image above it.
    """
    names = [
        name if landmark_of[name] is None else f"{name} = #{landmark_of[name]}"
        for name in regressed.names
    ]
    return _tiles(
        images,
        [_keypoint_drawer(images, points) for points in (matched, regressed)],
        ["matched landmarks", "regressed"],
        [(_keypoint_key("found", names), None)],
        title,
    )


def _tiles(
    images: np.ndarray,
    draws: Sequence,
    row_names: Sequence[str],
    keys: Sequence[tuple[list, str | None]],
    title: str,
) -> figures.Figure:
    """Rows of images; each row once for every one of `draws`, then keys."""
    columns = min(len(images), _COLUMNS)
    groups = -(-len(images) // columns)
    width = max(_TILE * columns, 7.0)
    key_columns = [_key_columns(handles, width) for handles, _ in keys]
    heights = [_TILE + 0.25] * len(draws) * groups
    heights += [
        0.2 * (marks.key_rows(len(handles), wide) + bool(name)) + 0.1
        for (handles, name), wide in zip(keys, key_columns)
    ]
    figure = marks.new_figure(width, sum(heights) + 0.2, title)
    marks.tight(figure)
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    for index, image in enumerate(images):
        group, column = divmod(index, columns)
        for kind, draw in enumerate(draws):
            row = len(draws) * group + kind
            axis = figure.add_subplot(grid[row, column])
            marks.show(axis, image)
            draw(axis, index)
            if column == 0 and row_names[kind]:
                axis.set_ylabel(row_names[kind], fontsize=9)
    for row, ((handles, name), wide) in enumerate(zip(keys, key_columns)):
        key_axis = figure.add_subplot(grid[len(draws) * groups + row, :])
        marks.key(key_axis, handles, wide, name)
    return figure


def _key_columns(handles: list, width: float) -> int:
    """As many as fit beside each other."""
    longest = max(len(handle.get_label()) for handle in handles) + 3
    letters = _KEY_LETTERS * width / (_TILE * _COLUMNS)
    return max(1, min(int(letters / longest), _KEY_COLUMNS))


def _keypoint_key(found: str, names: Sequence[str]) -> list:
    return [
        marks.marker(marks.GREY, found),
        marks.marker("none", "annotated", edge=marks.GREY, edge_width=1.5),
        *marks.keypoint_markers(names),
    ]


def _keypoint_drawer(images: np.ndarray, keypoints: Keypoints):
    """Draws an image's keypoints: dots, rings and lines between them."""
    num_keypoints = len(keypoints.names)
    colours = np.array(marks.keypoint_colours(num_keypoints))
    shapes = np.array([*map(marks.keypoint_shape, range(num_keypoints))])

    def draw(axis, index):
        errors_px = keypoints.errors_px[index]
        has_it = np.isfinite(errors_px)
        if not has_it.any():
            axis.set_title("not annotated", fontsize=9)
            return
        axis.set_title(f"{errors_px[has_it].mean():.1f} px", fontsize=9)
        found, true = (
            coords.to_pixels(points[index][has_it], images.shape[1:3])
            for points in (keypoints.regressed, keypoints.annotated)
        )
        for start, end, colour in zip(found, true, colours[has_it]):
            ends = np.stack([start, end], axis=-1)  # [2, 2], rows y and x.
            axis.plot(ends[1], ends[0], color=colour, linewidth=1.5)
        marks.dots(axis, found, shapes[has_it], colours[has_it], size=26)
        marks.rings(axis, true, shapes[has_it], colours[has_it], size=110)

    return draw
