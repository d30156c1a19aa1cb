"""Rectangles of an image, cut out with the points in them."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Box:
    """Whole pixels of an image; it may reach beyond it."""

    top: int
    left: int
    height: int
    width: int


def square_around(points: np.ndarray, margin: float) -> Box:
    """The square around points.

    Args:
        points: float `[..., 2]`, (y, x), pixels; NaN where missing, not all.
        margin: side of the square, as a multiple of the longer side of the
            smallest box that holds all points.
    """
    flat = points.reshape(-1, 2)
    low, high = np.nanmin(flat, axis=0), np.nanmax(flat, axis=0)
    side = max(1, math.ceil(margin * (high - low).max()))
    top, left = np.round((low + high) / 2.0 - (side - 1) / 2.0).astype(int)
    return Box(int(top), int(left), side, side)


def overlaps(image: np.ndarray, box: Box) -> bool:
    """Whether a pixel of `image`, `[H, W, 3]`, is in the box."""
    height, width = image.shape[:2]
    return -box.height < box.top < height and -box.width < box.left < width


def crop(image: np.ndarray, box: Box) -> np.ndarray:
    """Cuts a box out; beyond the image its border is repeated.

    Args:
        image: uint8 `[H, W, 3]`.
        box: in pixels of `image`.

    Returns:
        uint8 `[box.height, box.width, 3]`; shares the pixels of `image` if it
        can.
    """
    height, width = image.shape[:2]
    bottom, right = box.top + box.height, box.left + box.width
    if min(box.top, box.left) >= 0 and bottom <= height and right <= width:
        return image[box.top : bottom, box.left : right]
    rows = np.arange(box.top, bottom).clip(0, height - 1)
    columns = np.arange(box.left, right).clip(0, width - 1)
    return image[rows[:, None], columns]


def crop_points(points: np.ndarray, box: Box) -> np.ndarray:
    """Moves points `[..., 2]`, (y, x), pixels, along with `crop`."""
    return points - np.array([box.top, box.left])
