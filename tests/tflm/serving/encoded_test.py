import io
import struct
import zlib

from absl.testing import parameterized
import numpy as np
from PIL import Image
import tensorflow as tf

from tests.tflm.serving import lively_model
from tflm.data import views
from tflm.media import images
from tflm.serving import encoded

_SIZE = (40, 60)  # Height, width.


def _encode(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _exif(orientation: int, order: str = ">", kind: int = 3) -> bytes:
    """EXIF data as a JPEG has them: another tag, then the orientation."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    other = struct.pack(f"{order}HHII", 0x0100, 4, 1, 60)
    tag = struct.pack(f"{order}HHIHH", 0x0112, kind, 1, orientation, 0)
    head = struct.pack(f"{order}IH", 8, 2)
    return b"Exif\0\0" + start + head + other + tag + bytes(4)


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def _shallow_png(depth: int) -> bytes:
    """A grey PNG of less than 8 bits, 16 x 8, which Pillow does not write."""
    rows = np.random.default_rng(0).integers(256, size=(8, 2 * depth))
    lines = b"".join(b"\0" + bytes(row.tolist()) for row in rows)
    header = struct.pack(">IIBBBBB", 16, 8, depth, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(lines))
        + _chunk(b"IEND", b"")
    )


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def _views_of(files: tf.Tensor):
    return encoded.views_of(files, lively_model.CONFIG)


class ViewsOfTest(parameterized.TestCase, tf.test.TestCase):
    """A served model sees what training and prediction see."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pixels = np.random.default_rng(0).integers(
            256, size=(*_SIZE, 4), dtype=np.uint8
        )
        cls.rgb = Image.fromarray(cls.pixels[..., :3])

    def _assert_same(self, files: list[bytes]):
        seen, sizes, problems = _views_of(files)
        self.assertAllEqual(problems, [b""] * len(files))
        for file, view, size in zip(files, seen, sizes):
            image = images.decode(file, "it")
            self.assertAllEqual(size, image.shape[:2])
            expected = views.square(image, lively_model.CONFIG) / 255.0
            self.assertAllClose(view, expected, atol=1e-6)

    @parameterized.product(file_format=("JPEG", "PNG"), order=("<", ">"))
    def test_orientations(self, file_format, order):
        self._assert_same(
            [
                _encode(self.rgb, file_format, exif=_exif(number, order))
                for number in range(10)
            ]
        )
        # Else both might turn nothing.
        turned = _encode(self.rgb, file_format, exif=_exif(6, order))
        self.assertAllEqual(_views_of([turned])[1], [_SIZE[::-1]])

    @parameterized.parameters("JPEG", "PNG")
    def test_damaged_exif_turns_nothing(self, file_format):
        whole = _exif(6)
        damaged = [
            b"Exif\0\0of a broken camera",
            _exif(6, kind=4),
            whole[:14] + b"\xff" * 30,  # More tags than there is room for.
            whole[:10] + b"\xff" * 4 + whole[14:],  # They are elsewhere.
            *(whole[:length] for length in (6, 9, 13, 15, 20, 33)),
        ]
        files = [_encode(self.rgb, file_format, exif=one) for one in damaged]

        self._assert_same(files)

        self.assertAllEqual(_views_of(files)[1], [_SIZE] * len(files))

    def test_segments_before_exif_and_padding(self):
        plain = _encode(self.rgb, "JPEG", exif=_exif(8))
        start = plain.index(b"\xff\xe1")
        comment = b"\xff\xfe\0\x09Exif\0\0\xff"
        file = plain[:start] + comment + b"\xff\xff" + plain[start:]

        self._assert_same([file])

        self.assertAllEqual(_views_of([file])[1], [_SIZE[::-1]])

    def test_transparent_parts_lie_on_black(self):
        rgba = Image.fromarray(self.pixels)
        palette = self.rgb.convert("P")
        self._assert_same(
            [
                _encode(rgba, "PNG"),
                _encode(rgba.convert("LA"), "PNG"),
                _encode(palette, "PNG", transparency=bytes(range(256))),
                _encode(
                    self.rgb,
                    "PNG",
                    transparency=tuple(self.pixels[3, 4, :3].tolist()),
                ),
                _encode(self.rgb.convert("L"), "PNG", transparency=7),
            ]
        )
        clear = Image.new("RGBA", (9, 9), (255, 200, 100, 0))
        self.assertAllEqual(
            _views_of([_encode(clear, "PNG")])[0][0],
            np.zeros([32, 32, 3]),
        )

    def test_any_depth(self):
        values = self.pixels[..., :2].copy().view(np.uint16)[..., 0]
        grey = Image.fromarray(values)
        key = int(values[5, 6])
        deep = np.repeat(values[..., None], 4, axis=-1)
        self._assert_same(
            [
                _encode(grey, "PNG"),
                _encode(grey, "PNG", transparency=key),
                *(
                    tf.io.encode_png(deep[..., :count]).numpy()
                    for count in (2, 3, 4)
                ),
                *map(_shallow_png, (1, 2, 4)),
                _encode(self.rgb.convert("1"), "PNG", transparency=1),
                _encode(self.rgb.convert("P", colors=9), "PNG", bits=4),
            ]
        )


if __name__ == "__main__":
    tf.test.main()
