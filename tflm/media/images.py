"""Images between raw files and shards: upright, cropped, of bounded size.

Everything that looks at an image file prepares it here, so that training,
prediction and served models see the same pixels: turned as the EXIF data say,
transparent parts on black, 8-bit RGB.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import io
import pathlib
import struct
import warnings

import numpy as np
from PIL import Image
from PIL import UnidentifiedImageError

from tflm import errors
from tflm.media import kinds

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif",
    ".tiff", ".avif", ".jp2", ".ppm", ".pgm",
)  # fmt: skip
MAX_SIDE = 512  # Pixels; larger images are shrunk.
MAX_SERVED_PIXELS = 25_000_000  # Of an image that a served model takes.
JPEG_QUALITY = 95
_ORIENTATION = 0x0112  # Tag of EXIF.
_BITS_PER_SAMPLE = 0x0102  # Tag of TIFF.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# All that is read of a PNG file, besides the chunks that no reader may ignore.
_PNG_CHUNKS = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An image as shards hold it.

    Attributes:
        encoded: JPEG or PNG.
        scale: float `[2]`, its size as a share of the upright original, (y, x).
        size: (height, width) of the upright original, pixels.
    """

    encoded: bytes
    scale: np.ndarray
    size: tuple[int, int]


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


def read_upright(path: pathlib.Path) -> np.ndarray:
    """Reads an image file as it is meant to be seen; see `decode`.

    Raises:
        RawDataError: also if the file is missing.
    """
    return decode(_read_bytes(path), str(path))


def decode(encoded: bytes, name: str) -> np.ndarray:
    """Decodes an image file as it is meant to be seen.

    Args:
        encoded: the file. If it holds several images, the first is taken.
        name: of the file, for messages.

    Returns:
        uint8 `[H, W, 3]`, RGB, turned as its EXIF data say; what is transparent
        is black.

    Raises:
        RawDataError: if it does not decode, or the range of its pixels is not
            known.
    """
    with _decoded(encoded, name) as image:
        return np.asarray(_to_rgb(_turned(image), name))


def stored_size(path: pathlib.Path) -> tuple[int, int]:
    """(height, width) of an image file before it is turned, pixels.

    Raises:
        RawDataError: as `read_upright`.
    """
    with _decoded(_read_bytes(path), str(path)) as image:
        return image.size[::-1]


def read_prepared(path: pathlib.Path, max_side: int = MAX_SIDE) -> Prepared:
    """Reads an image file as shards hold it; see `prepare`.

    Raises:
        RawDataError: if the file is missing or does not decode.
    """
    return prepare(_read_bytes(path), max_side, str(path))


def prepare(
    encoded: bytes, max_side: int = MAX_SIDE, name: str = "an image"
) -> Prepared:
    """Makes an image file an upright RGB image of bounded size.

    An RGB JPEG or PNG that is upright and small enough keeps its bytes, unless
    its end is missing: with all pixels there Pillow reads it, but TensorFlow,
    which readers of the shards decode by, does not.

    Args:
        encoded: a file that Pillow reads. Of an animation, the first frame is
            taken; what is transparent becomes black.
        max_side: see `shrink`.
        name: of the file, for messages.

    Raises:
        RawDataError: see `decode`.
    """
    with _decoded(encoded, name) as image:
        size = _upright_size(image)
        is_small = max(image.size) <= max_side
        if is_small and _is_plain(image, encoded, ("RGB",)):
            return Prepared(encoded, np.ones(2), size)
        is_lossy = image.format in ("JPEG", "MPO")
        rgb, scale = _shrink(_to_rgb(_turned(image), name), max_side)
        return Prepared(_encode(rgb, is_lossy), scale, size)


def for_server(
    encoded: bytes, name: str, max_pixels: int = MAX_SERVED_PIXELS
) -> bytes:
    """Makes an image file one that the signature predict_bytes takes.

    Args:
        encoded: a file that Pillow reads.
        name: of the file, for messages.
        max_pixels: larger images are shrunk; points in fractions of width and
            height stay where they are.

    Returns:
        The same bytes if they are an upright RGB or grey JPEG or PNG that is
        small enough, otherwise a PNG.

    Raises:
        RawDataError: see `decode`.
    """
    with _decoded(encoded, name) as image:
        factor = (max_pixels / (image.width * image.height)) ** 0.5
        if factor >= 1.0 and _is_plain(image, encoded, ("RGB", "L")):
            return encoded
        rgb = _to_rgb(_turned(image), name)
        if factor < 1.0:
            rgb, _ = _shrink(rgb, int(factor * max(image.size)))
        buffer = io.BytesIO()
        rgb.save(buffer, "PNG", compress_level=1)  # Fast; it is not kept.
        return buffer.getvalue()


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


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise errors.RawDataError(
            f"{path} is missing; fetch it again"
        ) from None
    except OSError as error:
        raise errors.RawDataError(
            f"{path} cannot be read ({error.strerror}); put an image file that"
            " you may read in its place"
        ) from None


@contextlib.contextmanager
def _decoded(encoded: bytes, name: str) -> Iterator[Image.Image]:
    """An image with all of its pixels.

    This is the one place where an error about a file gets its message:
    whatever Pillow raises, here or in the block, becomes a RawDataError.
    """
    try:
        kind = kinds.kind_of(encoded[: kinds.NUM_BYTES])
        if kind and kind.remedy:
            raise errors.RawDataError(
                f"{name} is {kind.name}, which is not read; {kind.remedy}"
            )
        with warnings.catch_warnings():
            # They are about guards and tags; what matters is an error.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(_needed(encoded))) as image:
                image.load()
                yield image
    except errors.RawDataError:
        raise
    except Exception as error:
        raise _refusal(encoded, name, error) from error


def _refusal(
    encoded: bytes, name: str, error: Exception
) -> errors.RawDataError:
    """The line about a file that Pillow does not read."""
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * Image.MAX_IMAGE_PIXELS
        return errors.RawDataError(
            f"{name} has more than {limit // 1_000_000} million pixels, too"
            " many to decode; shrink it, for instance to half its width and"
            " height"
        )
    if isinstance(error, MemoryError):
        return errors.RawDataError(
            f"{name} needs more memory than there is; shrink it"
        )
    why = " ".join(str(error).split())  # One line.
    remedy = "save it as PNG in an image editor, or replace it"
    if not encoded:
        why, remedy = "it is empty", "fetch it again"
    elif _is_cut(encoded) or "truncated" in why.lower():
        why, remedy = "it is cut short", "copy or fetch it again"
    elif isinstance(error, UnidentifiedImageError):
        # Pillow names an object of ours, where it should name the file.
        kind = kinds.kind_of(encoded[: kinds.NUM_BYTES])
        why, remedy = "it is no image", "replace it"
        if kind:
            why = f"it begins as {kind.name}, but its header is damaged"
    elif not isinstance(error, (OSError, SyntaxError, ValueError)):
        why = f"Pillow fails with {type(error).__name__}: {why}"
    return errors.RawDataError(f"{name} does not decode ({why}); {remedy}")


def _is_plain(
    image: Image.Image, encoded: bytes, modes: tuple[str, ...]
) -> bool:
    """Whether any decoder of JPEG and PNG gives the pixels that we want."""
    return (
        image.format in ("JPEG", "PNG")
        and image.mode in modes
        and (image.format == "JPEG" or encoded[24] == 8)  # Bits of a PNG.
        and "transparency" not in image.info
        and getattr(image, "n_frames", 1) == 1  # No animated PNG.
        and _turn(image) is None
        and not _is_cut(encoded)
    )


def _is_cut(encoded: bytes) -> bool:
    """Whether a JPEG, PNG or WebP lacks its end, as far as it can be told."""
    if encoded.startswith(kinds.PNG):
        return b"IEND\xaeB`\x82" not in encoded
    if encoded.startswith(kinds.JPEG):
        # After the pixels; a thumbnail before them has one of its own.
        pixels, end = b"\xff\xda", b"\xff\xd9"
        return encoded.rfind(end) <= encoded.rfind(pixels)
    if encoded.startswith(b"RIFF"):
        return len(encoded) < 8 + int.from_bytes(encoded[4:8], "little")
    return False


def _needed(encoded: bytes) -> bytes:
    """A PNG without the chunks that are not read; other files as they are.

    Pillow refuses a file if a text or a colour profile in it is large, or its
    checksum is wrong. Neither has a part in the pixels. EXIF data after the
    pixels are left out, too, as browsers do.
    """
    if not encoded.startswith(kinds.PNG):
        return encoded
    parts, place = [kinds.PNG], len(kinds.PNG)
    while place + 8 <= len(encoded):
        length, name = struct.unpack_from(">I4s", encoded, place)
        end = place + 12 + length  # After its checksum.
        if not name.isalpha() or end > len(encoded):
            break
        is_late = name == b"eXIf" and b"IDAT" in (part[4:8] for part in parts)
        if name[:1].isupper() or (name in _PNG_CHUNKS and not is_late):
            parts.append(encoded[place:end])
        place = end
    return b"".join([*parts, encoded[place:]])


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """(height, width), pixels."""
    is_lying = (orientation(image.info.get("exif")) or 0) >= 5
    return image.size if is_lying else image.size[::-1]


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes a loaded image upright; None if it is.

    Pillow has turned a TIFF already. Orientations in texts (XMP), which
    browsers and viewers ignore, do not count.
    """
    return _TURNS.get(orientation(image.info.get("exif")))


def orientation(exif: bytes | None) -> int | None:
    """The orientation that EXIF data say; None if they say none.

    Pillow's own parser raises errors about other tags, too. Damaged data count
    as none, as they do in browsers; tflm.serving.encoded has the same rule.

    Args:
        exif: TIFF's header and its first directory, with or without the six
            bytes that begin them in a JPEG.
    """
    tiff = (exif or b"").removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if place + 12 > len(tiff):
            return None
        tag, kind, number = struct.unpack_from(f"{order}HHI", tiff, place)
        if tag == _ORIENTATION:
            (value,) = struct.unpack_from(f"{order}H", tiff, place + 8)
            is_turned = (kind, number) == (3, 1) and value in _TURNS
            return value if is_turned else None
    return None


def _turned(image: Image.Image) -> Image.Image:
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


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


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """8-bit RGB; transparent parts lie on black, 16-bit greys keep range."""
    if image.mode == "F":
        raise errors.RawDataError(
            f"{name} holds floating-point pixels; save it with 8 or 16 bits"
        )
    if image.mode.startswith("I"):  # 16-bit grey; Pillow would clip it.
        image = _to_8_bits(image, name)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(black, image)
    rgb = image.convert("RGB")
    rgb.info.clear()  # Else a palette's transparency is saved with it.
    return rgb


def _to_8_bits(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image, np.float64)
    highest = 2**16 - 1
    if image.format == "TIFF":
        (bits,) = image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[:1]
        highest = 2**bits - 1 if bits < 16 else highest
    if values.min() < 0 or values.max() > highest:
        raise errors.RawDataError(
            f"{name} holds pixels of more than 16 bits, whose range is not"
            " known; save it with 8 or 16 bits"
        )
    levels = (values * (255.0 / highest)).round().astype(np.uint8)
    levels[values == image.info.get("transparency")] = 0
    return Image.fromarray(levels)
