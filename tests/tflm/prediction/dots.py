"""Images of a soft white dot, and a detector that finds it."""

import pathlib

import numpy as np
from PIL import Image

from tflm import configs
from tflm import coords
from tflm.evaluation import keypoint_maps
from tflm.serving import loading

CONFIG = configs.Config(
    data=configs.DataConfig(crop_fraction=0.8),
    model=configs.ModelConfig(image_size=64, num_landmarks=2),
)
# Named as the dot, and as a point far outside to the left of it.
KEYPOINT_MAP = keypoint_maps.KeypointMap(
    ("nose", "tail"),
    np.array([[[1, 0], [1, 0]], [[0, 1], [0, 1]], *[[[0, 0]] * 2] * 2], "f"),
    np.array([[0, 0], [0, -9]], np.float32),
)
EXIF_ORIENTATION, ROTATE_CLOCKWISE = 0x0112, 6


def draw(size: tuple[int, int], dot: tuple[float, float]) -> np.ndarray:
    """Uint8 `[H, W, 3]`, black but for a dot around pixel (y, x)."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    squares = ((rows - dot[0]) / size[0]) ** 2
    squares += ((columns - dot[1]) / size[1]) ** 2
    spot = 255 * np.exp(-squares / (2 * 0.04**2))
    return np.repeat(np.rint(spot).astype(np.uint8)[..., None], 3, axis=-1)


def find(views: np.ndarray) -> dict[str, np.ndarray]:
    """Landmark 0 is the dot, landmark 1 the centre of the view."""
    grey = np.maximum(views.mean(axis=-1) - 0.1, 0.0)  # [N, S, S]
    grey /= grey.sum(axis=(1, 2), keepdims=True)
    axis = coords.axis(views.shape[1])
    dot = np.stack([grey.sum(axis=2) @ axis, grey.sum(axis=1) @ axis], axis=-1)
    landmarks = np.stack([dot, np.zeros_like(dot)], axis=1)
    confidence = np.tile(np.array([[0.75, 0.5]], np.float32), [len(views), 1])
    return {
        "landmarks": landmarks.astype(np.float32),
        "confidence": confidence,
    }


def detector(
    batch_size: int = 4, find=find, keypoint_map=None
) -> loading.Detector:
    """A detector that runs all of tflm's own code but a network."""
    return loading.Detector(find, CONFIG, keypoint_map, batch_size)


def write_kinds(folder: pathlib.Path) -> dict[str, tuple]:
    """Writes image files of many kinds.

    Returns:
        The path below `folder` of each, to the size, (height, width), and the
        dot, (y, x) in pixels, of the image as it is seen.
    """
    (folder / "more").mkdir(parents=True)
    wide = ((90, 200), (30.0, 120.0))
    tall = ((200, 90), (130.0, 30.0))
    pixels = draw(*wide)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = ROTATE_CLOCKWISE
    # A viewer turns it clockwise, so it is stored turned the other way.
    turned = Image.fromarray(np.rot90(draw(*tall)).copy())
    turned.save(folder / "more" / "exif.jpg", exif=exif, quality=95)
    Image.fromarray(pixels).save(folder / "colour.jpg", quality=95)
    Image.fromarray(pixels[..., 0]).save(folder / "grey.png")
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    assert deep.mode == "I;16", deep.mode
    deep.save(folder / "deep.png")
    white = np.full([*wide[0], 4], 255, np.uint8)
    white[..., 3] = pixels[..., 0]  # Only as much of it as is opaque counts.
    Image.fromarray(white, "RGBA").save(folder / "more" / "alpha.PNG")
    small = ((41, 33), (15.0, 20.0))
    Image.fromarray(draw(*small)).save(folder / "small.bmp")
    return {
        "colour.jpg": wide,
        "deep.png": wide,
        "grey.png": wide,
        "more/alpha.PNG": wide,
        "more/exif.jpg": tall,
        "small.bmp": small,
    }
