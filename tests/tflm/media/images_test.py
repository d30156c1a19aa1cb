import io
import pathlib
import struct
import tempfile

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


def _decode(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.mode == "RGB", image.mode
        return np.asarray(image)


def _centre(image: np.ndarray) -> np.ndarray:
    """(y, x) of the bright part of an image that is black elsewhere."""
    weight = image[..., 0].astype(float)
    return (np.indices(weight.shape) * weight).sum(axis=(1, 2)) / weight.sum()


class PrepareTest(parameterized.TestCase):
    @parameterized.parameters("JPEG", "PNG")
    def test_small_rgb_keeps_its_bytes(self, file_format):
        encoded = _encode(Image.new("RGB", (512, 20), "teal"), file_format)

        prepared, scale = images.prepare(encoded)

        self.assertEqual(prepared, encoded)
        np.testing.assert_array_equal(scale, [1, 1])

    def test_large_image_is_shrunk_to_512(self):
        encoded = _encode(Image.new("RGB", (1024, 300), "teal"), "PNG")

        prepared, scale = images.prepare(encoded)

        self.assertEqual(_decode(prepared).shape, (150, 512, 3))
        np.testing.assert_array_equal(scale, [0.5, 0.5])

    def test_exif_rotation_is_applied(self):
        pixels = np.zeros([16, 32, 3], np.uint8)
        pixels[:, :8] = 255  # Left, so after a clockwise turn: top.
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = ROTATE_CLOCKWISE
        encoded = _encode(Image.fromarray(pixels), "JPEG", exif=exif)

        prepared, _ = images.prepare(encoded)

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

        prepared, _ = images.prepare(encoded)

        np.testing.assert_array_equal(_decode(prepared), expected)

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

        prepared, _ = images.prepare(encoded)

        self.assertEqual(_decode(prepared).shape, (8, 4, 3))

    @parameterized.parameters(("PNG", 12), ("JPEG", 2))
    def test_without_its_end_it_is_encoded_again(self, file_format, length):
        image = Image.new("RGB", (8, 4), "teal")
        thumbnail = _encode(image, "JPEG")
        encoded = _encode(image, file_format, comment=thumbnail)[:-length]
        with self.assertRaises(tf.errors.InvalidArgumentError):
            tf.io.decode_image(encoded)

        prepared, _ = images.prepare(encoded)

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

        prepared, _ = images.prepare(_encode(image, "PNG"))

        pixels = _decode(prepared)
        np.testing.assert_array_equal(pixels[2, 1], [200, 100, 50])
        np.testing.assert_array_equal(pixels[0, 0], [0, 0, 0])

    def test_palette_with_a_transparent_colour(self):
        image = Image.new("P", (4, 4), 0)
        image.putpalette([250, 10, 20, 30, 240, 50])
        image.putpixel((1, 2), 1)
        encoded = _encode(image, "GIF", transparency=0)

        prepared, _ = images.prepare(encoded)

        pixels = _decode(prepared)
        np.testing.assert_array_equal(pixels[2, 1], [30, 240, 50])
        np.testing.assert_array_equal(pixels[0, 0], [0, 0, 0])

    @parameterized.parameters(("uint8", 1), ("uint16", 257))
    def test_grey_keeps_its_level(self, dtype, factor):
        values = np.array([[0, 100, 255]]) * factor
        image = Image.fromarray(values.astype(dtype))

        prepared, _ = images.prepare(_encode(image, "PNG"))

        expected = np.repeat([[[0], [100], [255]]], 3, axis=-1)
        np.testing.assert_array_equal(_decode(prepared), expected)


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
