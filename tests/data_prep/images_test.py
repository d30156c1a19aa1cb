import json
import os
import pathlib
import shutil
import struct
import tempfile
import unicodedata
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep import build
from data_prep import held_out
from data_prep.images import images_dataset_builder
from data_prep.images import make_dummy_data
from tflm import errors


class ImagesBuilderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = images_dataset_builder.Builder
    SPLITS = {"train": 6}


class SplitTest(absltest.TestCase):
    def test_position_is_the_md5_fraction(self):
        # `printf a/b.jpg | md5sum` starts with ad96d0fb4c65.
        self.assertEqual(
            held_out.position("a/b.jpg"),
            0xAD96D0FB4C65 / 2**48,
        )

    def test_share_of_positions_is_near_the_fraction(self):
        places = [held_out.position(f"{n:05d}.jpg") for n in range(4_000)]
        for fraction in (0.1, 0.5):
            share = np.mean(np.array(places) < fraction)
            # Three standard deviations of a binomial, 0.024 at the most.
            self.assertAlmostEqual(share, fraction, delta=0.024)


class ImagesTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )
        self.raw_dir = self.root / "raw"
        make_dummy_data.make(self.raw_dir)
        self.csv = self.raw_dir / make_dummy_data.PLAIN

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
                "test": "test",
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

    def test_images_held_out_without_keypoints_are_for_the_test(self):
        built = self._build(test_fraction=0.4)
        self.assertEqual(
            self._open(built).info.metadata["splits"],
            {"train": "train", "test": "test"},
        )

    @parameterized.parameters(
        make_dummy_data.PLAIN, make_dummy_data.DEEPLABCUT, make_dummy_data.COCO
    )
    def test_keypoints_are_where_the_dots_are(self, keypoints):
        built = self._build(
            test_fraction=0.0, keypoints=str(self.raw_dir / keypoints)
        )

        dataset = self._open(built).as_dataset("annotated_train")
        names = []
        for clip in tfds.as_numpy(dataset):
            names.append(clip["clip_id"].decode())
            image = clip["frames"]["image"][0].astype(float)
            left, right = clip["frames"]["keypoints"][0]
            with self.subTest(names[-1]):
                red = (image[..., 0] - image[..., 2]).clip(min=0) > 150
                blue = (image[..., 2] - image[..., 0]).clip(min=0) > 150
                for dot, point in ((red, left), (blue, right)):
                    self.assertEqual(dot.sum(), 9)
                    np.testing.assert_array_equal(
                        np.argwhere(dot).mean(axis=0), point
                    )
        self.assertCountEqual(names, ["a.jpg", "b.png", "c.bmp", "more/d.webp"])

    def test_keypoint_stays_on_its_dot_when_the_image_is_shrunk(self):
        pixels = np.zeros([700, 1300, 3], np.uint8)
        # A block of odd size, centred at (y, x) = (400, 1000).
        pixels[390:411, 990:1011] = 255
        Image.fromarray(pixels).save(self.raw_dir / "large.png")
        self.csv.write_text("image,dot_x,dot_y\nlarge.png,1000,400\n")

        built = self._build(test_fraction=0.0, keypoints=str(self.csv))

        dataset = self._open(built).as_dataset("annotated_train")
        (clip,) = tfds.as_numpy(dataset)
        image = clip["frames"]["image"][0][..., 0].astype(float)
        self.assertEqual(image.shape, (276, 512))
        np.testing.assert_allclose(
            clip["frames"]["scale"][0], [276 / 700, 512 / 1300]
        )
        grid = np.indices(image.shape)
        centre = (grid * image).sum(axis=(1, 2)) / image.sum()
        np.testing.assert_allclose(
            clip["frames"]["keypoints"][0, 0], centre, atol=0.02
        )
        # By hand: (1000 + 0.5) * 512 / 1300 - 0.5.
        self.assertAlmostEqual(centre[1], 393.54, delta=0.02)

    def test_empty_cells_are_missing_keypoints(self):
        self.csv.write_text("image,a_x,a_y,b_x,b_y\na.jpg,,,1,2\n")
        built = self._build(test_fraction=0.0, keypoints=str(self.csv))

        dataset = self._open(built).as_dataset("annotated_train")
        (clip,) = tfds.as_numpy(dataset)

        np.testing.assert_array_equal(
            clip["frames"]["keypoints"][0], [[np.nan, np.nan], [2, 1]]
        )

    def test_annotated_image_that_is_not_there_is_an_error(self):
        (self.raw_dir / "c.bmp").unlink()
        options = {"test_fraction": 0.0, "keypoints": str(self.csv)}
        with self.assertRaisesRegex(
            errors.RawDataError, f"{self.csv}: 1 of 4 .* .line 4: 'c.bmp'"
        ):
            self._build(**options)

        built = self._build(skip_broken=True, **options)

        self.assertEqual(built.num_clips, {"train": 5, "annotated_train": 3})
        self.assertIn(
            f"{self.csv}: 3 entries read; left out: 1 without an image (c.bmp)",
            built.counts,
        )

    def _turned(self, width: object, height: object, x: int = 5) -> dict:
        """A photograph of 30 x 20 pixels, shown 20 x 30, and what is stated."""
        exif = Image.Exif()
        exif[0x0112] = 6
        photo = Image.new("RGB", (30, 20), "teal")
        photo.save(self.raw_dir / "a.jpg", exif=exif)
        path = self.root / "coco.json"
        image = {"id": 1, "file_name": "a.jpg"}
        category = {"id": 1, "name": "face", "keypoints": ["nose"]}
        marked = {"image_id": 1, "category_id": 1, "keypoints": [x, 6, 2]}
        content = {
            "images": [{**image, "width": width, "height": height}],
            "annotations": [marked],
            "categories": [category],
        }
        path.write_text(json.dumps(content))
        return {"keypoints": str(path), "test_fraction": 0.0}

    @parameterized.parameters((20, 30), ("20", "30.0"), ("unknown", 30))
    def test_a_stated_size_is_that_of_the_upright_image(self, width, height):
        built = self._build(**self._turned(width, height))
        self.assertEqual(built.num_clips["annotated_train"], 1)

    @parameterized.parameters(
        (30, 20, "states 30 x 20; it was annotated as it is stored.*exiftool"),
        ("30", "20", "states 30 x 20; it was annotated as it is stored"),
        (None, 20, r"states \? x 20; it was annotated as it is stored"),
        (40, 60, "states 40 x 60; its keypoints would be misplaced"),
    )
    def test_another_stated_size_is_refused(self, width, height, words):
        with self.assertRaisesRegex(
            errors.RawDataError, rf"a.jpg has 20 x 30 pixels .*\[0\], {words}"
        ):
            self._build(**self._turned(width, height))
        self.assertFalse((self.root / "data").exists())

    def test_points_that_fit_the_image_only_as_it_lies_are_refused(self):
        with self.assertRaisesRegex(
            errors.RawDataError,
            "a.jpg: a keypoint at x 25, y 6 is outside the image of 20 x 30"
            " .*annotated as it is stored.*exiftool",
        ):
            self._build(**self._turned(None, None, x=25))
        built = self._build(**self._turned(None, None, x=32))
        self.assertEqual(built.num_clips["annotated_train"], 1)

    def test_names_written_as_macos_does(self):
        name = "Zoë_0.jpg"
        os.rename(
            self.raw_dir / "a.jpg",
            self.raw_dir / unicodedata.normalize("NFD", name),
        )
        self.csv.write_text(f"image,a_x,a_y\n{name},1,2\n")
        built = self._build(test_fraction=0.0, keypoints=str(self.csv))
        self.assertEqual(
            self._names(built, "annotated_train"),
            [unicodedata.normalize("NFD", name)],
        )

    def test_empty_split_says_which_fraction_is_enough(self):
        with self.assertRaisesRegex(
            errors.RawDataError, "split val; --val_fraction=0.05 is enough"
        ):
            self._build(val_fraction=0.01)
        built = self._build(val_fraction=0.05)
        self.assertEqual(self._names(built, "val"), ["b.png"])

    def test_a_few_annotated_images_have_one_in_the_test(self):
        names = [f"{n}.png" for n in range(20)]
        places = {name: held_out.position(name) for name in names}
        chosen = [name for name in names if places[name] < 0.8][:4]
        folder = self.root / "few"
        folder.mkdir()
        lines = ["image,nose_x,nose_y"]
        for name in chosen:
            Image.new("RGB", (8, 8)).save(folder / name)
            lines.append(f"{name},1,2")
        csv = self.root / "few.csv"
        csv.write_text("\n".join(lines))

        built = build.build(
            "images",
            str(folder),
            str(self.root / "data"),
            {"keypoints": str(csv)},
        )

        last = max(chosen, key=places.get)
        self.assertEqual(self._names(built, "annotated_test"), [last])
        self.assertEqual(built.num_clips["annotated_train"], 3)

    def test_hidden_files_are_ignored(self):
        (self.raw_dir / "._a.jpg").write_bytes(b"not an image")
        self.assertEqual(self._build().num_clips, {"train": 6})

    def test_what_is_left_out_is_counted(self):
        (self.raw_dir / "IMG_1.HEIC").write_bytes(b"x")
        (self.raw_dir / "x.png").mkdir()
        os.mkfifo(self.raw_dir / "pipe.png")
        built = self._build(test_fraction=0.0, keypoints=str(self.csv))
        self.assertEqual(
            list(built.counts),
            [
                f"{self.raw_dir}: 6 images read; left out: 1 of a kind that is"
                " not read; convert to JPEG or PNG (IMG_1.HEIC), 1 that are no"
                " files (pipe.png), 3 with another ending"
                " (CollectedData_Ann.csv, coco.json, notes.txt)",
                f"{self.csv}: 4 entries read",
            ],
        )

    def test_a_folder_of_other_images_says_so(self):
        for path in self.raw_dir.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.raw_dir / "IMG_1.HEIC").write_bytes(b"x")
        with self.assertRaisesRegex(
            errors.RawDataError,
            "holds no image .*left out: 1 of a kind .*not read.*IMG_1.HEIC",
        ):
            self._build()

    @parameterized.parameters(".tif", ".TIFF", ".pgm")
    def test_what_predict_reads_is_read(self, suffix):
        Image.new("RGB", (9, 9)).save(self.raw_dir / f"page{suffix}")
        self.assertEqual(self._build().num_clips, {"train": 7})

    def test_a_linked_folder_is_read_once(self):
        other = self.root / "other"
        other.mkdir()
        Image.new("RGB", (9, 9)).save(other / "g.png")
        for name in ("day1", "day2"):
            (self.raw_dir / name).symlink_to(other)
        built = self._build()
        self.assertEqual(built.num_clips, {"train": 7})
        self.assertIn("1 links to a folder that is read anyway", *built.counts)

    def test_loops_of_links_end(self):
        (self.raw_dir / "more/up").symlink_to(self.raw_dir)
        (self.raw_dir / "itself").symlink_to(self.raw_dir / "itself")
        self.assertEqual(self._build().num_clips, {"train": 6})

    def test_link_to_itself_is_counted(self):
        (self.raw_dir / "loop.png").symlink_to(self.raw_dir / "loop.png")
        self.assertIn("1 links to nothing (loop.png)", *self._build().counts)

    def test_name_that_is_no_utf_8_is_named_or_skipped(self):
        path = os.path.join(os.fsencode(self.raw_dir), b"caf\xe9.png")
        with open(path, "wb"):
            pass
        with self.assertRaisesRegex(
            errors.RawDataError,
            r"'caf\\udce9.png' is no .*rename.*--skip",
        ):
            self._build()

        built = self._build(skip_broken=True)

        self.assertEqual(built.num_clips, {"train": 6})
        self.assertEqual(list(built.skipped), [os.fsdecode(path)])

    @parameterized.parameters("empty.png", "zero.png")
    def test_a_file_without_pixels_is_named_or_skipped(self, name):
        path = self.raw_dir / name
        if name == "zero.png":
            Image.new("RGB", (8, 8)).save(path)
            encoded = bytearray(path.read_bytes())
            encoded[16:20] = bytes(4)  # The width.
            encoded[29:33] = struct.pack(">I", zlib.crc32(encoded[12:29]))
            path.write_bytes(encoded)
        else:
            path.touch()
        with self.assertRaisesRegex(errors.RawDataError, f"{name} does not"):
            self._build()
        self.assertEqual(
            list(self._build(skip_broken=True).skipped), [str(path)]
        )


if __name__ == "__main__":
    tfds.testing.test_main()
