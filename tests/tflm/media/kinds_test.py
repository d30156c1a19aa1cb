import io
import struct

from absl.testing import absltest
from absl.testing import parameterized
from PIL import Image

from tflm.media import kinds


def _box(brand: bytes, *more: bytes) -> bytes:
    """The first box of an MP4, HEIC and the like."""
    brands = brand + bytes(4) + b"".join(more)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(40)


def _tiff(order: str, tag: int, value: int) -> bytes:
    """The start of a TIFF whose first image has one tag, a SHORT."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IHHHIHHI", 8, 1, tag, 3, 1, value, 0, 0)


class KindOfTest(parameterized.TestCase):
    @parameterized.parameters(
        "JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "MPO"
    )
    def test_images_that_are_read(self, file_format):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 4)).save(buffer, file_format)

        kind = kinds.kind_of(buffer.getvalue())

        self.assertEqual((kind.remedy, kind.is_video), ("", False))

    @parameterized.named_parameters(
        ("heic", _box(b"heic", b"mif1"), "HEIC", "convert"),
        ("heif", _box(b"mif1", b"heix"), "HEIC", "convert"),
        ("canon_raw", b"II*\0\x10\0\0\0CR\x02\0" + bytes(20), "RAW", "export"),
        ("canon_raw_3", _box(b"crx ", b"isom"), "RAW", "export"),
        ("adobe_raw", _tiff("<", 0xC612, 1), "RAW", "export"),
        ("nikon_raw", _tiff(">", 0x00FE, 1), "RAW", "export"),
        ("sony_raw", _tiff("<", 0x0103, 32_767), "RAW", "export"),
        ("fuji_raw", b"FUJIFILMCCD-RAW 0201", "RAW", "export"),
        ("jpeg_xl", b"\xff\x0a\xfa\x1f", "JPEG XL", "save it"),
        ("pdf", b"%PDF-1.7", "PDF", "save"),
        ("svg", b'<?xml version="1.0"?>\n<svg width="3">', "SVG", "save"),
        ("page", b"\xef\xbb\xbf\n<!DOCTYPE HTML><html>", "web page", "fetch"),
        ("lfs", b"version https://git-lfs.github.com/spec/v1", "LFS", "run"),
    )
    def test_images_that_are_not_read(self, start, name, remedy):
        kind = kinds.kind_of(start)

        self.assertIn(name, kind.name)
        self.assertStartsWith(kind.remedy, remedy)
        self.assertFalse(kind.is_video)

    @parameterized.parameters(
        _box(b"isom", b"avc1"),
        _box(b"qt  "),
        b"\0\0\0\x08wide\0\0\0\0mdat",
        b"\x1a\x45\xdf\xa3\xa3",
        b"RIFF\0\0\0\0AVI LIST",
        b"\0\0\x01\xba",
    )
    def test_videos(self, start):
        self.assertTrue(kinds.kind_of(start).is_video)

    @parameterized.parameters(
        b"", b"II", b"II*\0", b"MM\0*\0\0\0\x08", b"\0\0\0\x18ftyp", b"hello"
    )
    def test_what_is_short_or_unknown_raises_nothing(self, start):
        kind = kinds.kind_of(start)
        self.assertTrue(kind is None or not kind.remedy or kind.is_video)


if __name__ == "__main__":
    absltest.main()
