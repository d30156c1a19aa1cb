import io
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep import annotations
from data_prep import build
from data_prep import clips
from data_prep import pictures
from data_prep.images import images_dataset_builder
from data_prep.images import make_dummy_data

EXIF_ORIENTATION = 0x0112
ROTATE_CLOCKWISE = 6  # What a viewer does with this orientation.


class ImagesBuilderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = images_dataset_builder.Builder
    SPLITS = {"train": 6}


def _encode(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _decode(encoded: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.mode == "RGB", image.mode
        return np.asarray(image)


class PrepareTest(parameterized.TestCase):
    @parameterized.parameters("JPEG", "PNG")
    def test_small_rgb_keeps_its_bytes(self, file_format):
        encoded = _encode(Image.new("RGB", (512, 20), "teal"), file_format)

        prepared, scale = pictures.prepare(encoded)

        self.assertEqual(prepared, encoded)
        np.testing.assert_array_equal(scale, [1, 1])

    def test_large_image_is_shrunk_to_512(self):
        encoded = _encode(Image.new("RGB", (1024, 300), "teal"), "PNG")

        prepared, scale = pictures.prepare(encoded)

        self.assertEqual(_decode(prepared).shape, (150, 512, 3))
        np.testing.assert_array_equal(scale, [0.5, 0.5])

    def test_exif_rotation_is_applied(self):
        pixels = np.zeros([16, 32, 3], np.uint8)
        pixels[:, :8] = 255  # Left, so after a clockwise turn: top.
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = ROTATE_CLOCKWISE
        encoded = _encode(Image.fromarray(pixels), "JPEG", exif=exif)

        prepared, _ = pictures.prepare(encoded)

        upright = _decode(prepared)
        self.assertEqual(upright.shape, (32, 16, 3))
        self.assertGreater(upright[:6].min(), 200)
        self.assertLess(upright[10:].max(), 50)
        with Image.open(io.BytesIO(prepared)) as image:
            self.assertNotIn(EXIF_ORIENTATION, image.getexif())

    def test_transparent_becomes_black(self):
        image = Image.new("RGBA", (4, 4), (200, 100, 50, 0))
        image.putpixel((1, 2), (200, 100, 50, 255))

        prepared, _ = pictures.prepare(_encode(image, "PNG"))

        pixels = _decode(prepared)
        np.testing.assert_array_equal(pixels[2, 1], [200, 100, 50])
        np.testing.assert_array_equal(pixels[0, 0], [0, 0, 0])

    def test_palette_with_a_transparent_colour(self):
        image = Image.new("P", (4, 4), 0)
        image.putpalette([250, 10, 20, 30, 240, 50])
        image.putpixel((1, 2), 1)
        encoded = _encode(image, "GIF", transparency=0)

        prepared, _ = pictures.prepare(encoded)

        pixels = _decode(prepared)
        np.testing.assert_array_equal(pixels[2, 1], [30, 240, 50])
        np.testing.assert_array_equal(pixels[0, 0], [0, 0, 0])

    @parameterized.parameters(("uint8", 1), ("uint16", 257))
    def test_grey_keeps_its_level(self, dtype, factor):
        values = np.array([[0, 100, 255]]) * factor
        image = Image.fromarray(values.astype(dtype))

        prepared, _ = pictures.prepare(_encode(image, "PNG"))

        expected = np.repeat([[[0], [100], [255]]], 3, axis=-1)
        np.testing.assert_array_equal(_decode(prepared), expected)


class SplitTest(absltest.TestCase):
    def test_position_is_the_md5_fraction(self):
        # `printf a/b.jpg | md5sum` starts with ad96d0fb4c65.
        self.assertEqual(
            images_dataset_builder.position("a/b.jpg"),
            0xAD96D0FB4C65 / 2**48,
        )

    def test_share_of_positions_is_near_the_fraction(self):
        places = [
            images_dataset_builder.position(f"{n:05d}.jpg")
            for n in range(4_000)
        ]
        for fraction in (0.1, 0.5):
            share = np.mean(np.array(places) < fraction)
            # Three standard deviations of a binomial, 0.024 at the most.
            self.assertAlmostEqual(share, fraction, delta=0.024)


class NamesTest(absltest.TestCase):
    def test_swaps_are_found_by_name(self):
        names = ["snout", "leftear", "rightear", "left_eye", "right_paw"]
        self.assertEqual(annotations.left_right_swaps(names), [(1, 2)])


class ImagesTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )
        self.raw_dir = self.root / "raw"
        make_dummy_data.make(self.raw_dir)
        self.csv = self.raw_dir / "annotations.csv"

    def _build(self, skip_broken=False, **options) -> build.Built:
        return build.build(
            "images",
            str(self.raw_dir),
            str(self.root / "data"),
            options,
            skip_broken=skip_broken,
        )

    def _open(self, built: build.Built):
        return tfds.builder_from_directory(built.path)

    def _names(self, built: build.Built, split: str) -> list[str]:
        dataset = self._open(built).as_dataset(split)
        return [c["clip_id"].decode() for c in tfds.as_numpy(dataset)]

    def _assert_refused(self, csv_text: str, message: str) -> None:
        self.csv.write_text(csv_text)
        with self.assertRaisesRegex(clips.RawDataError, message):
            self._build(keypoints=str(self.csv))

    def test_splits_follow_the_positions(self):
        built = self._build(
            val_fraction=0.25, test_fraction=0.4, keypoints=str(self.csv)
        )

        # Positions: a.jpg 0.22, b.png 0.04, c.bmp 0.62, d.webp 0.28,
        # e.GIF 0.53, f.jpeg 0.71; a to d are annotated.
        self.assertCountEqual(self._names(built, "val"), ["a.jpg", "b.png"])
        self.assertCountEqual(
            self._names(built, "test"), ["c.bmp", "more/deeper/f.jpeg"]
        )
        self.assertCountEqual(
            self._names(built, "train"), ["more/d.webp", "more/e.GIF"]
        )
        self.assertEqual(self._names(built, "annotated_train"), ["more/d.webp"])
        self.assertEqual(self._names(built, "annotated_test"), ["c.bmp"])

    def test_metadata_for_eyes(self):
        built = self._build(test_fraction=0.4, keypoints=str(self.csv))
        metadata = self._open(built).info.metadata

        self.assertEqual(metadata["keypoint_names"], ["left_eye", "right_eye"])
        self.assertEqual(metadata["left_right_swaps"], [[0, 1]])
        self.assertEqual(metadata["normalizing_pair"], [0, 1])
        self.assertEqual(
            metadata["splits"],
            {
                "train": "train",
                "regression_train": "annotated_train",
                "regression_test": "annotated_test",
            },
        )

    def test_without_keypoints_there_are_none(self):
        built = self._build()
        (clip, *_) = tfds.as_numpy(self._open(built).as_dataset("train"))

        # One frame, one row that stands for no keypoint.
        self.assertEqual(clip["frames"]["keypoints"].shape, (1, 1, 2))
        self.assertTrue(np.isnan(clip["frames"]["keypoints"]).all())
        self.assertEqual(self._open(built).info.metadata["keypoint_names"], [])
        self.assertEqual(
            self._open(built).info.metadata["splits"], {"train": "train"}
        )

    def test_keypoint_stays_on_its_dot_when_the_image_is_shrunk(self):
        pixels = np.zeros([700, 1300, 3], np.uint8)
        # A block of odd size, centred at (y, x) = (400, 1000).
        pixels[390:411, 990:1011] = 255
        Image.fromarray(pixels).save(self.raw_dir / "large.png")
        self.csv.write_text("image,dot_x,dot_y\nlarge.png,1000,400\n")

        built = self._build(keypoints=str(self.csv))

        dataset = self._open(built).as_dataset("annotated_train")
        (clip,) = tfds.as_numpy(dataset)
        image = clip["frames"]["image"][0][..., 0].astype(float)
        self.assertEqual(image.shape, (276, 512))
        grid = np.indices(image.shape)
        centre = (grid * image).sum(axis=(1, 2)) / image.sum()
        np.testing.assert_allclose(
            clip["frames"]["keypoints"][0, 0], centre, atol=0.02
        )
        # By hand: (1000 + 0.5) * 512 / 1300 - 0.5.
        self.assertAlmostEqual(centre[1], 393.54, delta=0.02)

    def test_empty_cells_are_missing_keypoints(self):
        self.csv.write_text("image,a_x,a_y,b_x,b_y\na.jpg,,,1,2\n")
        built = self._build(keypoints=str(self.csv))

        dataset = self._open(built).as_dataset("annotated_train")
        (clip,) = tfds.as_numpy(dataset)

        np.testing.assert_array_equal(
            clip["frames"]["keypoints"][0], [[np.nan, np.nan], [2, 1]]
        )

    def test_csv_errors_name_the_line(self):
        header = "image,a_x,a_y\n"
        self._assert_refused(
            header + "a.jpg,1,2\nno.jpg,1,2\n",
            "annotations.csv, line 3.*no.jpg",
        )
        self._assert_refused(header + "a.jpg,1,two\n", "line 2.*'two'")
        self._assert_refused(header + "a.jpg,1\n", "line 2.*3 cells")
        self._assert_refused(header + "a.jpg,1,\n", "line 2.*two empty cells")
        self._assert_refused("image,a_x,b_y\na.jpg,1,2\n", "line 1.*a_x,b_y")
        self._assert_refused("name,a_x,a_y\na.jpg,1,2\n", "line 1.*name")

    def test_empty_split_says_which_fraction_is_enough(self):
        with self.assertRaisesRegex(
            clips.RawDataError, "split val; --val_fraction=0.05 is enough"
        ):
            self._build(val_fraction=0.01)
        built = self._build(val_fraction=0.05)
        self.assertEqual(self._names(built, "val"), ["b.png"])

    def test_hidden_files_are_ignored(self):
        (self.raw_dir / "._a.jpg").write_bytes(b"not an image")
        self.assertEqual(self._build().num_clips, {"train": 6})


if __name__ == "__main__":
    tfds.testing.test_main()
