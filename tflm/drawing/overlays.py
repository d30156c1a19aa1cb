"""Points drawn on images, in pixels, without matplotlib: fast and exact."""

import numpy as np

_RADIUS = 0.012  # Of a dot, of the image's shorter side.
_SMALLEST_PX = 2.0  # Radius.
_EDGE = 0.35  # Width of the dark edge, of the radius.
_LEAST_AREA = 0.2  # Of a dot of no confidence, of a full one.


def draw(
    image: np.ndarray,
    points_px: np.ndarray,
    colours: np.ndarray,
    confidence: np.ndarray | None = None,
) -> np.ndarray:
    """Draws points as coloured dots with a dark edge.

    Dots grow with the image. The area of an uncertain one is smaller: that of a
    full dot times its confidence, at least a fifth of it.

    Args:
        image: uint8 `[H, W, 3]`, RGB; left as it is.
        points_px: float `[K, 2]`, (y, x), pixels. NaN is not drawn, and what is
            outside of the image is cut off.
        colours: float `[K, 3]`, RGB in [0, 1].
        confidence: float `[K]` in [0, 1]; NaN, or None, draws full dots.

    Returns:
        uint8 `[H, W, 3]`; points of greater index lie above the others.

    Raises:
        ValueError: if the image or the points have another shape or type.
    """
    points_px = np.asarray(points_px, np.float64)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image must be uint8 [H, W, 3], got {image.dtype}"
            f" {list(image.shape)}"
        )
    if points_px.shape != (len(colours), 2):
        raise ValueError(
            f"points must be [{len(colours)}, 2], one per colour, got"
            f" {list(points_px.shape)}"
        )
    drawn = image.copy()
    full = max(_SMALLEST_PX, _RADIUS * min(image.shape[:2]))
    edge = max(1.0, _EDGE * full)
    areas = np.ones(len(points_px))
    if confidence is not None:
        areas = np.nan_to_num(np.asarray(confidence, np.float64), nan=1.0)
    radii = full * np.sqrt(np.clip(areas, _LEAST_AREA, 1.0))
    for point, colour, radius in zip(points_px, colours, radii):
        if np.isfinite(point).all():
            _disc(drawn, point, radius + edge, np.zeros(3))
            _disc(drawn, point, radius, 255.0 * np.asarray(colour))
    return drawn


def _disc(
    image: np.ndarray, centre: np.ndarray, radius: float, colour: np.ndarray
) -> None:
    """Draws into `image`; a pixel at the rim is covered in part."""
    size = np.array(image.shape[:2])
    reach = radius + 1.0
    low = np.clip(np.ceil(centre - reach), 0, size).astype(int)
    high = np.clip(np.floor(centre + reach) + 1, 0, size).astype(int)
    rows, columns = (slice(*ends) for ends in zip(low, high))
    y, x = np.ogrid[rows, columns]
    distance = np.hypot(y - centre[0], x - centre[1])
    cover = np.clip(radius + 0.5 - distance, 0.0, 1.0)[..., None]
    patch = image[rows, columns]
    image[rows, columns] = np.round((1.0 - cover) * patch + cover * colour)
