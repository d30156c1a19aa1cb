"""Images between raw files and shards: upright, cropped, of bounded size."""

import io
import pathlib
import warnings

import numpy as np
from PIL import Image
from PIL import UnidentifiedImageError

from tflm import errors

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif",
    ".tiff", ".avif", ".jp2", ".ppm", ".pgm",
)  # fmt: skip
MAX_SIDE = 512  # Pixels; larger images are shrunk.
JPEG_QUALITY = 95
_ORIENTATION = 0x0112  # Tag of EXIF.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def shrink(
    image: np.ndarray, max_side: int = MAX_SIDE
) -> tuple[np.ndarray, np.ndarray]:
    """Shrinks an image to a bounded size (Lanczos), unless it is small enough.

    Args:
        image: uint8 `[H, W, 3]`.
        max_side: pixels of the longer side, at most.

    Returns:
        uint8 `[h, w, 3]`, and float `[2]` for `shrink_points`.
    """
    resized, scale = _shrink(Image.fromarray(image), max_side)
    return np.asarray(resized), scale


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encodes uint8 `[H, W, 3]`."""
    return _encode(Image.fromarray(image), is_lossy=True)


def read_encoded(path: pathlib.Path) -> tuple[bytes, tuple[int, int]]:
    """Reads an image file and makes sure that every pixel of it decodes.

    Returns:
        The encoded bytes, and (height, width) in pixels.

    Raises:
        RawDataError: if the file is missing, no image, or cut short.
    """
    try:
        encoded = path.read_bytes()
        with warnings.catch_warnings():
            # It is not refused yet: Pillow does so at twice the size.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(encoded)) as image:
                image.load()
                return encoded, (image.height, image.width)
    except FileNotFoundError:
        raise errors.RawDataError(
            f"{path} is missing; fetch it again, or pass --skip_broken to"
            " leave such files out"
        ) from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        # Pillow names an object of ours, where it should name the file.
        is_none = isinstance(error, UnidentifiedImageError)
        why = "it is no image" if is_none else error
        raise errors.RawDataError(
            f"{path} does not decode ({why}); replace it, or pass"
            " --skip_broken to leave such files out"
        ) from None


def read_upright(path: pathlib.Path) -> np.ndarray:
    """Reads an image file as it is meant to be seen.

    Returns:
        uint8 `[H, W, 3]`, RGB, turned as its EXIF data say.

    Raises:
        RawDataError: see `read_encoded`; also if the pixels are floats,
            whose range is not known.
    """
    encoded, _ = read_encoded(path)
    with Image.open(io.BytesIO(encoded)) as image:
        if image.mode == "F":
            raise errors.RawDataError(
                f"{path} holds floating-point pixels; save it with 8 or 16 bits"
            )
        return np.asarray(_to_rgb(_turned(image)))


def prepare(
    encoded: bytes, max_side: int = MAX_SIDE
) -> tuple[bytes, np.ndarray]:
    """Makes an image file an upright RGB image of bounded size.

    An RGB JPEG or PNG that is upright and small enough keeps its bytes, unless
    its end is missing: with all pixels there Pillow reads it, but TensorFlow,
    which readers of the shards decode by, does not.

    Args:
        encoded: a file that Pillow reads. Of an animation, the first frame is
            taken; what is transparent becomes black.
        max_side: see `shrink`.

    Returns:
        The JPEG (if it was one before) or PNG, and float `[2]`, the new size
        as a share of the upright old one, (y, x).
    """
    with Image.open(io.BytesIO(encoded)) as image:
        is_lossy = image.format in ("JPEG", "MPO")
        is_plain = (
            image.format in ("JPEG", "PNG")
            and image.mode == "RGB"
            and "transparency" not in image.info
            and getattr(image, "n_frames", 1) == 1  # No animated PNG.
            and _turn(image) is None
        )
        is_small = max(image.size) <= max_side
        if is_plain and is_small and _has_end(encoded, image.format):
            return encoded, np.ones(2)
        rgb = _to_rgb(_turned(image))
    rgb, scale = _shrink(rgb, max_side)
    return _encode(rgb, is_lossy), scale


def _has_end(encoded: bytes, file_format: str) -> bool:
    """Whether a JPEG or PNG has the mark that it ends with."""
    if file_format == "PNG":
        return b"IEND\xaeB`\x82" in encoded
    # After the pixels; a thumbnail before them has one of its own.
    pixels, end = b"\xff\xda", b"\xff\xd9"
    return encoded.rfind(end) > encoded.rfind(pixels)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright, as its EXIF data say; None if it is."""
    return _TURNS.get(image.getexif().get(_ORIENTATION))


def _turned(image: Image.Image) -> Image.Image:
    """As PIL.ImageOps.exif_transpose, which fails if any EXIF tag is odd."""
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def upright_size(encoded: bytes) -> tuple[int, int]:
    """(height, width) of an image file as it is meant to be seen, pixels."""
    with Image.open(io.BytesIO(encoded)) as image:
        turn = _turn(image)
        width, height = image.size
    is_on_its_side = turn is not None and turn not in (
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
    )
    return (width, height) if is_on_its_side else (height, width)


def _shrink(
    image: Image.Image, max_side: int
) -> tuple[Image.Image, np.ndarray]:
    factor = min(1.0, max_side / max(image.size))
    size = tuple(max(1, round(side * factor)) for side in image.size)
    scale = np.divide(size, image.size)[::-1]
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image, scale


def _encode(image: Image.Image, is_lossy: bool) -> bytes:
    buffer = io.BytesIO()
    if is_lossy:
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB; transparent parts lie on black, 16-bit greys keep range."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow would clip it.
        values = np.asarray(image, np.float64) / 257.0
        image = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(black, image)
    rgb = image.convert("RGB")
    rgb.info.clear()  # Else a palette's transparency is saved with it.
    return rgb


def shrink_points(points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Moves points along with an image that is resized.

    The edges of the image stay its edges, and pixel centres lie half a pixel
    inside: y + 0.5 scales, not y.

    Args:
        points: float `[P, 2]`, (y, x), pixels of the old image, 0 = centre of
            the first.
        scale: float `[2]`, new size / old size, (y, x).

    Returns:
        As `points`, in pixels of the new image.
    """
    return (points + 0.5) * scale - 0.5
