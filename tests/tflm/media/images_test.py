import io
import pathlib
import struct
import tempfile
from unittest import mock
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image
from PIL import ImageOps
import tensorflow as tf

from tflm import errors
from tflm.media import boxes
from tflm.media import images

EXIF_ORIENTATION = 0x0112
ROTATE_CLOCKWISE = 6  # What a viewer does with this orientation.


def _encode(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _exif(orientation: int) -> bytes:
    """EXIF data as a JPEG has them, with one tag."""
    tag = (EXIF_ORIENTATION, 3, 1, orientation, 0)
    return b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, *tag, 0)


def _chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(name + content)
    length = struct.pack(">I", len(content))
    return length + name + content + struct.pack(">I", checksum)


def _decode(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.mode == "RGB", image.mode
        return np.asarray(image)


def _centre(image: np.ndarray) -> np.ndarray:
    """(y, x) of the bright part of an image that is black elsewhere."""
    weight = image[..., 0].astype(float)
    return (np.indices(weight.shape) * weight).sum(axis=(1, 2)) / weight.sum()


def _prepare(encoded: bytes) -> tuple[bytes, np.ndarray]:
    prepared = images.prepare(encoded)
    return prepared.encoded, prepared.scale


class PrepareTest(parameterized.TestCase):
    @parameterized.parameters("JPEG", "PNG")
    def test_small_rgb_keeps_its_bytes(self, file_format):
        encoded = _encode(Image.new("RGB", (512, 20), "teal"), file_format)

        prepared, scale = _prepare(encoded)

        self.assertEqual(prepared, encoded)
        np.testing.assert_array_equal(scale, [1, 1])

    def test_large_image_is_shrunk_to_512(self):
        encoded = _encode(Image.new("RGB", (1024, 300), "teal"), "PNG")

        prepared, scale = _prepare(encoded)

        self.assertEqual(_decode(prepared).shape, (150, 512, 3))
        np.testing.assert_array_equal(scale, [0.5, 0.5])

    def test_exif_rotation_is_applied(self):
        pixels = np.zeros([16, 32, 3], np.uint8)
        pixels[:, :8] = 255  # Left, so after a clockwise turn: top.
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = ROTATE_CLOCKWISE
        encoded = _encode(Image.fromarray(pixels), "JPEG", exif=exif)

        prepared, _ = _prepare(encoded)

        upright = _decode(prepared)
        self.assertEqual(upright.shape, (32, 16, 3))
        self.assertGreater(upright[:6].min(), 200)
        self.assertLess(upright[10:].max(), 50)
        with Image.open(io.BytesIO(prepared)) as image:
            self.assertNotIn(EXIF_ORIENTATION, image.getexif())

    @parameterized.parameters(range(1, 9))
    def test_every_orientation_is_turned_as_pillow_does(self, orientation):
        pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        encoded = _encode(Image.fromarray(pixels), "PNG", exif=exif)
        with Image.open(io.BytesIO(encoded)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))

        prepared, _ = _prepare(encoded)

        np.testing.assert_array_equal(_decode(prepared), expected)

    def test_a_tiff_that_pillow_turns_itself_is_turned_once(self):
        pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
        encoded = _encode(Image.fromarray(pixels), "TIFF", exif=_exif(6))

        upright = images.decode(encoded, "a.tif")

        np.testing.assert_array_equal(upright, np.rot90(pixels, -1))

    @parameterized.named_parameters(
        ("garbage", b"Exif\0\0of a broken camera"),
        ("cut", b"Exif\0\0II*\0"),
        ("cut_directory", b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12"),
        ("elsewhere", b"Exif\0\0II*\0\xff\xff\xff\xff"),
    )
    def test_damaged_exif_turns_nothing(self, exif):
        image = Image.new("RGB", (8, 4), "teal")
        for file_format in ("JPEG", "PNG", "WEBP"):
            encoded = _encode(image, file_format, exif=exif)
            upright = images.decode(encoded, "a")
            self.assertEqual(upright.shape, (4, 8, 3))

    @parameterized.parameters(0, 9, 65_535)
    def test_orientations_that_do_not_exist_turn_nothing(self, orientation):
        image = Image.new("RGB", (8, 4), "teal")
        encoded = _encode(image, "JPEG", exif=_exif(orientation))

        upright = images.decode(encoded, "a.jpg")

        self.assertEqual(upright.shape, (4, 8, 3))

    def test_another_tag_of_exif_may_be_odd(self):
        # Tag 0x011A, a resolution, says that it is text; rational by rights.
        tiff = struct.pack(
            "<2sHIHHHIHHHHI4sI",
            *(b"II", 42, 8, 2),
            *(EXIF_ORIENTATION, 3, 1, ROTATE_CLOCKWISE, 0),
            *(0x011A, 2, 3, b"72\0\0", 0),
        )
        image = Image.new("RGB", (8, 4), "teal")
        encoded = _encode(image, "JPEG", exif=b"Exif\0\0" + tiff)

        prepared, _ = _prepare(encoded)

        self.assertEqual(_decode(prepared).shape, (8, 4, 3))

    @parameterized.parameters(("PNG", 12), ("JPEG", 2))
    def test_without_its_end_it_is_encoded_again(self, file_format, length):
        image = Image.new("RGB", (8, 4), "teal")
        thumbnail = _encode(image, "JPEG")
        encoded = _encode(image, file_format, comment=thumbnail)[:-length]
        with self.assertRaises(tf.errors.InvalidArgumentError):
            tf.io.decode_image(encoded)

        prepared, _ = _prepare(encoded)

        np.testing.assert_allclose(
            tf.io.decode_image(prepared), np.asarray(image), atol=3
        )

    def test_floating_point_pixels_are_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "a.tif")
            Image.fromarray(np.full([4, 4], 0.5, np.float32)).save(path)
            with self.assertRaisesRegex(
                errors.RawDataError, "a.tif holds floating-point pixels; save"
            ):
                images.read_upright(path)

    def test_transparent_becomes_black(self):
        image = Image.new("RGBA", (4, 4), (200, 100, 50, 0))
        image.putpixel((1, 2), (200, 100, 50, 255))

        prepared, _ = _prepare(_encode(image, "PNG"))

        pixels = _decode(prepared)
        np.testing.assert_array_equal(pixels[2, 1], [200, 100, 50])
        np.testing.assert_array_equal(pixels[0, 0], [0, 0, 0])

    def test_palette_with_a_transparent_colour(self):
        image = Image.new("P", (4, 4), 0)
        image.putpalette([250, 10, 20, 30, 240, 50])
        image.putpixel((1, 2), 1)
        encoded = _encode(image, "GIF", transparency=0)

        prepared, _ = _prepare(encoded)

        pixels = _decode(prepared)
        np.testing.assert_array_equal(pixels[2, 1], [30, 240, 50])
        np.testing.assert_array_equal(pixels[0, 0], [0, 0, 0])

    @parameterized.parameters(("uint8", 1), ("uint16", 257))
    def test_grey_keeps_its_level(self, dtype, factor):
        values = np.array([[0, 100, 255]]) * factor
        image = Image.fromarray(values.astype(dtype))

        prepared, _ = _prepare(_encode(image, "PNG"))

        expected = np.repeat([[[0], [100], [255]]], 3, axis=-1)
        np.testing.assert_array_equal(_decode(prepared), expected)

    def test_sixteen_bits_of_which_one_value_is_transparent(self):
        values = np.array([[257, 25_700]], np.uint16)
        encoded = _encode(Image.fromarray(values), "PNG", transparency=25_700)

        decoded = images.decode(encoded, "a.png")

        np.testing.assert_array_equal(decoded[0, :, 0], [1, 0])

    def test_twelve_bits_span_the_whole_range(self):
        # 0, 2048 and 4095, packed: 3 bytes hold 2 values.
        strip = bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x00])
        tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 277: 1, 278: 1}
        tags |= {273: 8 + 2 + 12 * 9 + 4, 279: len(strip)}
        encoded = b"II*\0" + struct.pack("<IH", 8, len(tags))
        for tag, value in sorted(tags.items()):
            encoded += struct.pack("<HHII", tag, 4, 1, value)
        encoded += bytes(4) + strip

        decoded = images.decode(encoded, "a.tif")

        np.testing.assert_array_equal(decoded[0, :3, 0], [0, 128, 255])

    def test_thirty_two_bits_are_refused(self):
        values = np.array([[0, 70_000]], np.int32)
        with self.assertRaisesRegex(
            errors.RawDataError,
            "^a.tif holds pixels of more than 16 bits.*save",
        ):
            images.decode(_encode(Image.fromarray(values), "TIFF"), "a.tif")

    def test_it_answers_the_size_of_the_upright_original(self):
        image = Image.new("RGB", (40, 20), "teal")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "a.jpg")
            path.write_bytes(_encode(image, "JPEG", exif=_exif(6)))

            prepared = images.read_prepared(path, max_side=10)

            self.assertEqual(prepared.size, (40, 20))
            self.assertEqual(images.stored_size(path), (20, 40))
        self.assertEqual(_decode(prepared.encoded).shape, (10, 5, 3))
        np.testing.assert_array_equal(prepared.scale, [0.25, 0.25])


class PngTest(parameterized.TestCase):
    """Chunks of a PNG that have no part in its pixels."""

    @parameterized.named_parameters(
        ("text", b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000))),
        ("profile", b"iCCP", b"a\0\0" + zlib.compress(bytes(3_000_000))),
        ("wrong_length", b"pHYs", b"1"),
    )
    def test_they_are_not_read(self, name, content):
        image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
        plain = _encode(image, "PNG")
        encoded = plain[:33] + _chunk(name, content) + plain[33:]
        with self.assertRaises(ValueError):  # Pillow's guard.
            Image.open(io.BytesIO(encoded)).load()

        decoded = images.decode(encoded, "a.png")

        np.testing.assert_array_equal(decoded, np.asarray(image))
        self.assertEqual(_prepare(encoded)[0], encoded)

    def test_a_wrong_checksum_of_a_text_does_not_count(self):
        image = Image.new("RGB", (8, 4), "teal")
        plain = _encode(image, "PNG")
        text = _chunk(b"tEXt", b"a\0b")[:-4] + bytes(4)

        decoded = images.decode(plain[:33] + text + plain[33:], "a.png")

        np.testing.assert_array_equal(decoded, np.asarray(image))

    def test_exif_counts_before_the_pixels_only(self):
        plain = _encode(Image.new("RGB", (8, 4), "teal"), "PNG")
        exif = _chunk(b"eXIf", _exif(6).removeprefix(b"Exif\0\0"))

        before = images.decode(plain[:33] + exif + plain[33:], "a.png")
        after = images.decode(plain[:-12] + exif + plain[-12:], "a.png")

        self.assertEqual((before.shape, after.shape), ((8, 4, 3), (4, 8, 3)))


class ForServerTest(parameterized.TestCase):
    @parameterized.product(file_format=("JPEG", "PNG"), mode=("RGB", "L"))
    def test_what_a_server_decodes_keeps_its_bytes(self, file_format, mode):
        encoded = _encode(Image.new(mode, (20, 10)), file_format)

        self.assertEqual(images.for_server(encoded, "a", 200), encoded)

    def test_more_pixels_than_it_takes_are_shrunk(self):
        encoded = _encode(Image.new("RGB", (200, 50), "teal"), "PNG")

        sent = _decode(images.for_server(encoded, "a.png", 2_500))

        self.assertEqual(sent.shape, (25, 100, 3))

    @parameterized.named_parameters(
        ("turned", "JPEG", "RGB", {"exif": True}),
        ("webp", "WEBP", "RGB", {"lossless": True}),
        ("gif", "GIF", "P", {}),
        ("bmp", "BMP", "RGB", {}),
        ("tiff", "TIFF", "RGB", {}),
        ("16_bits", "PNG", "I;16", {}),
        ("cut_out", "PNG", "RGBA", {}),
        ("cmyk", "JPEG", "CMYK", {}),
    )
    def test_everything_else_becomes_a_png_of_what_is_seen(
        self, file_format, mode, options
    ):
        if "exif" in options:
            options = {"exif": _exif(8)}
        encoded = _encode(Image.new(mode, (20, 10), 3), file_format, **options)

        sent = images.for_server(encoded, "a")

        self.assertStartsWith(sent, b"\x89PNG")
        np.testing.assert_array_equal(_decode(sent), images.decode(encoded, ""))


class RefusalTest(parameterized.TestCase):
    """Every reader turns whatever goes wrong into one line about the file."""

    def setUp(self):
        super().setUp()
        folder = self.enter_context(tempfile.TemporaryDirectory())
        self.path = pathlib.Path(folder, "a.jpg")

    def _assert_refused(self, words: str):
        for read in (
            images.stored_size,
            images.read_upright,
            images.read_prepared,
        ):
            with self.assertRaisesRegex(errors.RawDataError, words) as caught:
                read(self.path)
            message = str(caught.exception)
            self.assertStartsWith(message, str(self.path))
            self.assertLen(message.splitlines(), 1)

    @parameterized.product(
        where=("open", "load", "getexif", "convert", "transpose"),
        error=(
            struct.error("unpack requires\na buffer"),
            IndexError("index out of range"),
            KeyError("tag"),
            ZeroDivisionError("division by zero"),
            OverflowError("too large"),
            RecursionError("too deep"),
            SyntaxError("not a PNG"),
            MemoryError(),
        ),
    )
    def test_whatever_pillow_raises_is_one_line(self, where, error):
        if where == "open":
            stand_in = mock.patch.object(Image, "open", side_effect=error)
        else:
            stand_in = mock.patch.object(
                Image.Image, where, side_effect=error, create=True
            )
        image = Image.new("CMYK", (8, 4))
        if where == "getexif":  # Which Pillow itself calls for a TIFF alone.
            self.path.write_bytes(_encode(image, "TIFF"))
        else:
            self.path.write_bytes(_encode(image, "JPEG", exif=_exif(6)))
        with stand_in:
            for read in (images.read_upright, images.read_prepared):
                with self.assertRaises(errors.RawDataError) as caught:
                    read(self.path)
                message = str(caught.exception)
                self.assertStartsWith(message, f"{self.path} ")
                self.assertLen(message.splitlines(), 1)
                self.assertRegex(message, "; (save|shrink|fetch|copy) ")

    def test_an_error_of_encoding_is_one_too(self):
        self.path.write_bytes(_encode(Image.new("L", (8, 4)), "JPEG"))
        with mock.patch.object(Image.Image, "save", side_effect=KeyError("x")):
            with self.assertRaisesRegex(errors.RawDataError, "a.jpg does not"):
                images.read_prepared(self.path)

    @parameterized.parameters("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
    def test_a_file_that_is_cut_short_is_called_so(self, file_format):
        noise = np.random.default_rng(0).integers(256, size=(32, 32, 3))
        image = Image.fromarray(noise.astype(np.uint8))
        encoded = _encode(image, file_format)
        self.path.write_bytes(encoded[: len(encoded) * 3 // 4])

        self._assert_refused("it is cut short.*; copy or fetch it again$")

    def test_nothing_and_no_image(self):
        self._assert_refused("a.jpg is missing; fetch it again$")
        self.path.touch()
        self._assert_refused("it is empty.; fetch it again$")
        self.path.write_text("no image")
        self._assert_refused("it is no image.; replace it$")
        self.path.unlink()
        self.path.mkdir()
        self._assert_refused("cannot be read .Is a directory.; put")

    def test_too_many_pixels_are_to_be_shrunk(self):
        encoded = bytearray(_encode(Image.new("RGB", (8, 4)), "JPEG"))
        frame = encoded.index(b"\xff\xc0")
        encoded[frame + 5 : frame + 9] = struct.pack(">HH", 12_240, 16_320)
        self.path.write_bytes(encoded)

        self._assert_refused("more than 178 million pixels.*; shrink it")

    def test_another_kind_of_file_is_named_with_what_to_do(self):
        self.path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))

        self._assert_refused("is a HEIC photo, which is not read; convert it")


class ShrinkTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("wide", (30, 120), 40, (10, 40), [1 / 3, 1 / 3]),
        # 31 * 40 / 120 = 10.33, stored as 10: y and x scale differently.
        ("rounded", (31, 120), 40, (10, 40), [10 / 31, 1 / 3]),
        ("tall", (120, 30), 40, (40, 10), [1 / 3, 1 / 3]),
        ("never_empty", (1, 120), 40, (1, 40), [1, 1 / 3]),
        ("small_enough", (30, 40), 40, (30, 40), [1, 1]),
    )
    def test_size_and_scale(self, old, max_side, new, expected_scale):
        image, scale = images.shrink(np.zeros([*old, 3], np.uint8), max_side)

        self.assertEqual(image.shape, (*new, 3))
        np.testing.assert_allclose(scale, expected_scale)

    def test_small_image_keeps_its_pixels(self):
        image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)

        np.testing.assert_array_equal(images.shrink(image, 3)[0], image)

    def test_edges_stay_edges(self):
        # Half the size: the first two pixels, with centres 0 and 1, become
        # the first, with centre 0.
        points = images.shrink_points(
            np.array([[0.5, 0.5], [-0.5, 9.5]]), np.array([0.5, 0.5])
        )

        np.testing.assert_array_equal(points, [[0, 0], [-0.5, 4.5]])

    def test_points_follow_a_mark(self):
        image = np.zeros([90, 210, 3], np.uint8)
        image[30:41, 120:131] = 255  # Centre (35, 125).

        small, scale = images.shrink(image, 64)
        (point,) = images.shrink_points(np.array([[35.0, 125.0]]), scale)

        np.testing.assert_allclose(point, _centre(small), atol=0.05)


class CropTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("inside", boxes.Box(1, 0, 2, 2), [[4, 5], [8, 9]]),
        ("first_pixel", boxes.Box(0, 0, 1, 1), [[0]]),
        (
            "beyond_the_upper_left",
            boxes.Box(-2, -1, 3, 3),
            [[0, 0, 1], [0, 0, 1], [0, 0, 1]],
        ),
        (
            "beyond_the_lower_right",
            boxes.Box(1, 2, 3, 3),
            [[6, 7, 7], [10, 11, 11], [10, 11, 11]],
        ),
        ("outside", boxes.Box(-9, 9, 1, 2), [[3, 3]]),
    )
    def test_pixels(self, box, expected):
        # 0  1  2  3
        # 4  5  6  7
        # 8  9 10 11
        image = np.arange(12, dtype=np.uint8).reshape(3, 4)
        image = np.repeat(image[:, :, None], 3, axis=-1)

        cropped = boxes.crop(image, box)

        np.testing.assert_array_equal(cropped[:, :, 1], expected)
        self.assertEqual(cropped.shape[2], 3)

    @parameterized.parameters(boxes.Box(3, 8, 9, 5), boxes.Box(-6, -4, 40, 30))
    def test_a_marked_pixel_follows(self, box):
        image = np.zeros([20, 15, 3], np.uint8)
        image[7, 10] = 255
        points = np.array([[7, 10], [np.nan, np.nan]])

        moved = boxes.crop_points(points, box)

        np.testing.assert_array_equal(
            np.argwhere(boxes.crop(image, box)[:, :, 0]), moved[:1]
        )
        self.assertTrue(np.isnan(moved[1]).all())

    def test_a_mark_follows_crop_and_shrink(self):
        image = np.zeros([200, 300, 3], np.uint8)
        image[96:105, 146:155] = 255
        points = np.array([[100.0, 150.0], [20.0, 140.0], [np.nan, np.nan]])
        box = boxes.square_around(points, margin=2.0)

        small, scale = images.shrink(boxes.crop(image, box), 64)
        moved = images.shrink_points(boxes.crop_points(points, box), scale)

        self.assertEqual(small.shape, (64, 64, 3))
        np.testing.assert_allclose(moved[0], _centre(small), atol=0.05)


class SquareAroundTest(parameterized.TestCase):
    @parameterized.named_parameters(
        # Centre (5, 20), the longer side is 10: rows 0 to 10 are 11 pixels.
        (
            "wide",
            [[4, 15], [6, 25]],
            1.1,
            boxes.Box(top=0, left=15, height=11, width=11),
        ),
        # Centre (15, 5), side 40: rows -4.5 to 34.5, rounded to even.
        (
            "beyond_the_image",
            [[5, 5], [25, 5]],
            2.0,
            boxes.Box(top=-4, left=-14, height=40, width=40),
        ),
        (
            "one_point",
            [[7, 9]],
            3.0,
            boxes.Box(top=7, left=9, height=1, width=1),
        ),
        (
            "missing_points_do_not_count",
            [[4, 15], [np.nan, np.nan], [6, 25]],
            1.1,
            boxes.Box(top=0, left=15, height=11, width=11),
        ),
    )
    def test_by_hand(self, points, margin, expected):
        box = boxes.square_around(np.array(points, float), margin)

        self.assertEqual(box, expected)

    def test_frames_of_a_video_share_one(self):
        frames = np.array([[[4.0, 15.0]], [[6.0, 25.0]]])  # [2, 1, 2]

        self.assertEqual(
            boxes.square_around(frames, 1.1),
            boxes.Box(top=0, left=15, height=11, width=11),
        )


class EncodeTest(absltest.TestCase):
    def test_jpeg_keeps_small_red_marks(self):
        image = np.zeros([16, 16, 3], np.uint8)
        image[5:8, 9:12] = [255, 0, 0]

        decoded = _decode(images.encode_jpeg(image))

        np.testing.assert_allclose(decoded[6, 10], [255, 0, 0], atol=25)
        np.testing.assert_allclose(decoded[6, 5], [0, 0, 0], atol=25)


if __name__ == "__main__":
    absltest.main()
