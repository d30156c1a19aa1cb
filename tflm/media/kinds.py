"""What a file is, by its first bytes: its name may say something else."""

import dataclasses
import struct

NUM_BYTES = 65_536  # Of a file's start, that `kind_of` looks at.
JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"

_SAVE_AS = "save it as JPEG or PNG"
_HEIC = (
    "convert it to JPEG, for instance with `heif-convert IN.heic OUT.jpg`, or"
    " let the phone export JPEG"
)
_RAW = "export it as JPEG or PNG from the camera's program"
_FETCH = "fetch the file itself"
_VIDEO = "give it the ending of a video, such as .mp4, and read it as one"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: with its article, for messages.
        remedy: how to get an image that is read; "" if this one is.
        is_video: whether it is one; it is then no image.
    """

    name: str
    remedy: str = ""
    is_video: bool = False


_TIFF = Kind("a TIFF")
_RAW_PHOTO = Kind("a RAW photo of a camera", _RAW)
# How files begin.
_STARTS = {
    JPEG: Kind("a JPEG"),
    PNG: Kind("a PNG"),
    b"GIF8": Kind("a GIF"),
    b"\x00\x00\x00\x0cjP  ": Kind("a JPEG 2000"),
    b"\xff\x4f\xff\x51": Kind("a JPEG 2000"),
    b"II\x2a\x00": _TIFF,
    b"MM\x00\x2a": _TIFF,
    b"II\x2b\x00": _TIFF,  # BigTIFF.
    b"MM\x00\x2b": _TIFF,
    b"IIRO": _RAW_PHOTO,  # Olympus.
    b"IIRS": _RAW_PHOTO,
    b"MMOR": _RAW_PHOTO,
    b"IIU\x00": _RAW_PHOTO,  # Panasonic.
    b"FUJIFILMCCD-RAW": _RAW_PHOTO,
    b"FOVb": _RAW_PHOTO,  # Sigma.
    b"\x00MRM": _RAW_PHOTO,  # Minolta.
    b"\xff\x0a": Kind("a JPEG XL image", _SAVE_AS),
    b"\x00\x00\x00\x0cJXL ": Kind("a JPEG XL image", _SAVE_AS),
    b"8BPS": Kind("a Photoshop file", _SAVE_AS),
    b"gimp xcf": Kind("a GIMP file", _SAVE_AS),
    b"\x76\x2f\x31\x01": Kind("an OpenEXR image", _SAVE_AS),
    b"%PDF": Kind("a PDF", "save its page as PNG"),
    b"%!PS": Kind("a PostScript file", _SAVE_AS),
    b"\xc5\xd0\xd3\xc6": Kind("a PostScript file", _SAVE_AS),
    b"PK\x03\x04": Kind("a ZIP archive", "unpack it"),
    b"\x1f\x8b": Kind("a gzip archive", "unpack it"),
    b"version https://git-lfs": Kind(
        "a pointer of Git LFS", "run `git lfs pull`"
    ),
    b"\x1a\x45\xdf\xa3": Kind("a Matroska or WebM video", _VIDEO, True),
    b"\x00\x00\x01\xba": Kind("an MPEG video", _VIDEO, True),
    b"\x00\x00\x01\xb3": Kind("an MPEG video", _VIDEO, True),
    b"FLV\x01": Kind("a Flash video", _VIDEO, True),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": Kind("a WMV video", _VIDEO, True),
    b"OggS": Kind("an Ogg video", _VIDEO, True),
}
_MP4 = Kind("an MP4 or MOV video", _VIDEO, True)
# Brands in a file of ISO's base media format; the first that is found counts.
_BRANDS = {
    b"avif": Kind("an AVIF"),
    b"avis": Kind("an AVIF"),
    b"crx ": _RAW_PHOTO,  # Canon.
    **dict.fromkeys(
        (
            b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm",
            b"hevs", b"mif1", b"mif2", b"msf1",
        ),
        Kind("a HEIC photo", _HEIC),
    ),
}  # fmt: skip
_RIFFS = {
    b"WEBP": Kind("a WebP"),
    b"AVI ": Kind("an AVI video", _VIDEO, True),
}
_TEXTS = {
    b"<svg": Kind("an SVG drawing", "save it as PNG"),
    b"<!doctype html": Kind("a web page", _FETCH),
    b"<html": Kind("a web page", _FETCH),
}
_SUBFILE_TYPE, _COMPRESSION, _DNG_VERSION = 0x00FE, 0x0103, 0xC612
_RAW_COMPRESSIONS = (32_767, 34_713, 65_535)  # Sony, Nikon, Pentax.


def kind_of(start: bytes) -> Kind | None:
    """What a file is.

    Args:
        start: its first bytes, NUM_BYTES of them if it has so many.

    Returns:
        None if it is not known, which many videos are not.
    """
    if start[4:8] == b"ftyp":
        length = int.from_bytes(start[:4], "big")
        brands = [start[i : i + 4] for i in range(8, min(length, 256), 4)]
        kinds = [kind for name, kind in _BRANDS.items() if name in brands]
        return kinds[0] if kinds else _MP4
    if start[4:8] in (b"moov", b"mdat", b"wide"):  # Old MOV files.
        return _MP4
    if start.startswith(b"RIFF"):
        return _RIFFS.get(start[8:12])
    if start.startswith(b"BM") and start[15:18] == b"\0\0\0":
        return Kind("a BMP")
    for magic, kind in _STARTS.items():
        if start.startswith(magic):
            is_raw = kind == _TIFF and _is_raw(start)
            return _RAW_PHOTO if is_raw else kind
    text = start[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        for magic, kind in _TEXTS.items():
            if magic in text:
                return kind
    return None


def _is_raw(start: bytes) -> bool:
    """Whether a TIFF is a RAW photo, whose first image is a thumbnail."""
    if start[8:10] == b"CR":  # Canon.
        return True
    order = "<" if start.startswith(b"II") else ">"
    (place,) = struct.unpack_from(f"{order}I", start.ljust(8, b"\0"), 4)
    count = int.from_bytes(
        start[place : place + 2], "little" if order == "<" else "big"
    )
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        if entry + 12 > len(start):
            return False
        tag, kind = struct.unpack_from(f"{order}HH", start, entry)
        letter = "H" if kind == 3 else "I"
        (value,) = struct.unpack_from(f"{order}{letter}", start, entry + 8)
        if (
            tag == _DNG_VERSION
            or (tag == _SUBFILE_TYPE and value & 1)  # A reduced image.
            or (tag == _COMPRESSION and value in _RAW_COMPRESSIONS)
        ):
            return True
    return False
