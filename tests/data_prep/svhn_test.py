import gzip
import io
import pathlib
import shutil
import tarfile
from unittest import mock

from absl.testing import parameterized
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep.svhn import make_dummy_data
from data_prep.svhn import svhn_dataset_builder
from tests import builder_case
from tflm import errors

BOXES = "digitStruct.mat"


class SvhnBuilderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = svhn_dataset_builder.Builder
    # Of 7 numbers of the archive train 2 are val, 1 other has a single digit.
    SPLITS = {"train": 4, "val": 2, "test": 3}


class SvhnTest(builder_case.BuilderCase):
    DATASET = "svhn"

    def _unpack(self, archive: str) -> pathlib.Path:
        """Replaces an archive by its folder."""
        path = self.raw_dir / f"{archive}.tar.gz"
        with tarfile.open(path) as packed:
            packed.extractall(self.raw_dir, filter="data")
        path.unlink()
        return self.raw_dir / archive

    def _repack(self, archive: str, **changes: bytes | None) -> None:
        """Changes files of an archive, or leaves them out."""
        folder = self._unpack(archive)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        shutil.rmtree(folder)
        files.update(changes)
        make_dummy_data.write_archive(
            self.raw_dir / f"{archive}.tar.gz",
            archive,
            {name: content for name, content in files.items() if content},
        )

    def test_the_dot_is_where_the_squared_and_resized_box_has_it(self):
        side = svhn_dataset_builder.SIDE
        width, height = make_dummy_data.DIGIT_SIZE
        x, y = make_dummy_data.DOT_XY
        # By hand: 12 x 20 pixels grow to 20 x 20, 4 more on the left; and then
        # by 64 / 20, about the pixels' edges.
        self.assertEqual((width, height), (12, 20))
        expected = (np.array([y, x + 4]) + 0.5) * 64 / 20 - 0.5

        for clip_id, frames in self._read("test").items():
            self.assertEqual(frames["image"].shape[1:], (side, side, 3))
            for image in frames["image"]:
                rows, columns = np.nonzero(image.min(axis=-1) > 215)
                np.testing.assert_allclose(
                    (rows.mean(), columns.mean()),
                    expected,
                    atol=0.6,
                    err_msg=clip_id,
                )

    def test_the_box_beyond_the_image_repeats_its_border(self):
        # The first box starts 3 pixels from the left, and grows by 4 there.
        image = self._read("test")["test/1.png"]["image"][0].astype(int)
        self.assertLess(np.abs(image[:, 0] - image[:, 4]).max(), 12)

    def test_digits_are_labelled_in_the_order_of_the_number(self):
        digits = {
            name: frames["digit"].tolist()
            for name, frames in self._read("test").items()
        }
        self.assertEqual(
            digits,
            {
                "test/1.png": [2, 0],  # The file has 10 for '0'.
                "test/2.png": [4],
                "test/3.png": [1, 9, 8],
            },
        )
        frames = self._read("test")["test/3.png"]
        np.testing.assert_array_equal(frames["index"], [0, 1, 2])

    def test_scale_is_that_of_the_digits_box(self):
        (source, *_) = self._sources()["test"]
        _, numbers = source.spec
        for clip in svhn_dataset_builder.Builder.read(source):
            name = clip["clip_id"].partition("/")[2]
            for frame, (_, *box) in zip(clip["frames"], numbers[name]):
                side = svhn_dataset_builder.square(*box).height
                np.testing.assert_allclose(
                    frame["scale"], svhn_dataset_builder.SIDE / side, rtol=1e-6
                )

    def test_numbers_of_a_single_digit_are_not_trained_on(self):
        train = ["train/1.png", "train/3.png", "train/4.png", "train/5.png"]
        self.assertCountEqual(self._read("train"), train)
        self.assertCountEqual(
            self._read("val"), ["train/14.png", "train/47.png"]
        )

    def test_extra_is_trained_on_if_asked_for(self):
        self.assertCountEqual(
            [name for name in self._read("train", extra=True) if "ex" in name],
            ["extra/1.png", "extra/3.png"],
        )

    def test_a_tenth_of_the_numbers_is_for_validation(self):
        names = [f"{number}.png" for number in range(1, 33_403)]
        num_val = sum(map(svhn_dataset_builder.is_val, names))
        self.assertAlmostEqual(num_val / len(names), 0.1, delta=0.001)

    def test_unpacked_folders_give_the_same(self):
        packed = self._read("train")
        shutil.rmtree(self.root / "data")
        self._unpack("train")
        unpacked = self._read("train")

        self.assertCountEqual(packed, unpacked)
        for name, frames in packed.items():
            np.testing.assert_array_equal(
                frames["image"], unpacked[name]["image"]
            )

    @parameterized.parameters(True, False)
    def test_an_absent_image_is_named_or_skipped(self, is_packed):
        if is_packed:
            self._repack("train", **{"3.png": None})
        else:
            (self._unpack("train") / "3.png").unlink()
        words = "^3.png .*missing in" if is_packed else "1 of 7 .* .'3.png'"
        with self.assertRaisesRegex(errors.RawDataError, words):
            self._build()

        built = self._build(skip_broken=True)

        self.assertLen(built.skipped, 1)
        self.assertEqual(built.num_clips["train"], 3)

    def test_a_box_outside_of_its_image_is_named_or_skipped(self):
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9)).save(buffer, "PNG")
        self._repack("train", **{"3.png": buffer.getvalue()})
        with self.assertRaisesRegex(
            errors.RawDataError, "^3.png .* has 9 x 9 pixels .* a box of 12 x"
        ):
            self._build()
        self.assertLen(self._build(skip_broken=True).skipped, 1)

    def test_a_folder_in_place_of_an_image_is_named_or_skipped(self):
        path = self._unpack("train") / "3.png"
        path.unlink()
        path.mkdir()
        with self.assertRaisesRegex(errors.RawDataError, "1 of 7 .*'3.png'"):
            self._build()
        self.assertLen(self._build(skip_broken=True).skipped, 1)

    def test_whatever_reading_the_boxes_raises_is_one_line(self):
        with mock.patch.object(
            svhn_dataset_builder.h5py,
            "File",
            side_effect=ZeroDivisionError("odd"),
        ):
            with self.assertRaisesRegex(
                errors.RawDataError,
                "digitStruct.mat of .*train.tar.gz is no .*ZeroDivisionError",
            ):
                self._build()

    def test_an_image_that_does_not_decode_is_named(self):
        self._repack("train", **{"3.png": b"\x89PNG, or so"})
        with self.assertRaisesRegex(
            errors.RawDataError, "^3.png .*train.tar.gz does not decode"
        ):
            self._build()

    @parameterized.parameters(([BOXES, "1.png"],), (["1.png", BOXES],))
    def test_a_truncated_archive_is_named(self, order):
        folder = self._unpack("train")
        # Noise: what is cut off is not just the padding.
        noise = np.random.default_rng(0).bytes(100_000)
        files = {name: (folder / name).read_bytes() for name in order}
        files["1.png"] += noise
        shutil.rmtree(folder)
        path = self.raw_dir / "train.tar.gz"
        make_dummy_data.write_archive(path, "train", files)
        path.write_bytes(path.read_bytes()[:50_000])

        with self.assertRaisesRegex(
            errors.RawDataError, "train.tar.gz is cut short"
        ):
            self._build()
        self.assertFalse((self.root / "data").exists())

    def test_an_archive_without_boxes_is_named(self):
        self._repack("test", **{BOXES: None})
        with self.assertRaisesRegex(
            errors.RawDataError, "test.tar.gz holds no digitStruct.mat"
        ):
            self._build()

    def test_what_is_no_archive_is_named(self):
        (self.raw_dir / "test.tar.gz").write_bytes(gzip.compress(b"house"))
        with self.assertRaisesRegex(
            errors.RawDataError, "test.tar.gz is cut short, or no"
        ):
            self._build()

    def test_a_missing_archive_is_named(self):
        (self.raw_dir / "test.tar.gz").unlink()
        with self.assertRaisesRegex(
            errors.RawDataError, "test.tar.gz is missing"
        ):
            self._build()

    @parameterized.parameters(
        (b"MATLAB 5.0", "no readable file"),
        (make_dummy_data.digit_struct({"1.png": [(9, 0, 1, 1, 9)]}), "1 to 10"),
        (make_dummy_data.digit_struct({"1.png": [(0, 1, 1, 1, 9)]}), "a pixel"),
        (
            make_dummy_data.digit_struct({"../1.png": [(9, 1, 1, 1, 9)]}),
            "plain file name",
        ),
    )
    def test_a_broken_file_of_boxes_is_named(self, content, message):
        self._repack("train", **{BOXES: content})
        with self.assertRaisesRegex(errors.RawDataError, message) as caught:
            self._build()
        self.assertNotIn("\n", str(caught.exception))

    def test_a_missing_field_is_named(self):
        path = self._unpack("train") / BOXES
        content = path.read_bytes()
        self.assertIn(b"height", content)
        path.write_bytes(content.replace(b"height", b"HEIGHT"))
        with self.assertRaisesRegex(
            errors.RawDataError, "train/digitStruct.mat.*height"
        ):
            self._build()


if __name__ == "__main__":
    tfds.testing.test_main()
