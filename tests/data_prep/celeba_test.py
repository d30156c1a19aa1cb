import os

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep.celeba import celeba_dataset_builder
from tests import builder_case
from tflm import errors

LANDMARKS = celeba_dataset_builder.LANDMARKS
PARTITION = celeba_dataset_builder.PARTITION
MIRROR_LANDMARKS_HEADER = (
    "image_id,lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y,"
    "leftmouth_x,leftmouth_y,rightmouth_x,rightmouth_y"
)


class CelebaBuilderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = celeba_dataset_builder.Builder
    # Of 5 MAFL training, 2 MAFL test, 3 unlabelled images; 1 is partition 1.
    SPLITS = {"train": 7, "mafl_train": 4, "val": 1, "mafl_test": 2}
    OVERLAPPING_SPLITS = ["train", "mafl_train"]


class CelebaTest(builder_case.BuilderCase):
    DATASET = "celeba"

    def _replace(self, path: str, old: str, new: str) -> None:
        path = self.raw_dir / path
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new))

    def test_keypoints_are_where_the_red_dots_are(self):
        self._assert_on_red_dots(self._read_stills("mafl_test"))

    def _assert_on_red_dots(self, frames: dict[str, dict]) -> None:
        for name, frame in frames.items():
            red, green, _ = np.moveaxis(frame["image"].astype(int), -1, 0)
            for y, x in frame["keypoints"].astype(int):
                with self.subTest(f"{name} {y} {x}"):
                    self.assertGreater(red[y, x] - green[y, x], 150)

    def _move(self, **moves: str) -> None:
        """Renames files, their old name without ending -> new path."""
        for old, new in moves.items():
            (path,) = self.raw_dir.glob(f"{old}*")
            (self.raw_dir / new).parent.mkdir(parents=True, exist_ok=True)
            path.rename(self.raw_dir / new)

    def _assert_reads_all(self) -> None:
        self.assertCountEqual(
            self._read_stills("train"),
            [f"{n:06d}.jpg" for n in (*range(1, 5), 8, 9, 10)],
        )
        mafl_test = self._read_stills("mafl_test")
        self.assertCountEqual(mafl_test, ["000006.jpg", "000007.jpg"])
        self._assert_on_red_dots(mafl_test)

    def test_folders_of_the_official_distribution(self):
        self._move(
            img_align_celeba="Img/img_align_celeba",
            list_landmarks_align_celeba=f"Anno/{LANDMARKS}",
            list_eval_partition=f"Eval/{PARTITION}",
        )
        self._assert_reads_all()

    def test_nested_folder_and_lists_of_the_mirror(self):
        # A folder cannot be moved into itself.
        self._move(img_align_celeba="images")
        self._move(images="img_align_celeba/img_align_celeba")
        self._to_csv(LANDMARKS, MIRROR_LANDMARKS_HEADER, num_header_lines=2)
        self._to_csv(PARTITION, "image_id,partition", num_header_lines=0)
        self._assert_reads_all()

    def _to_csv(self, name: str, header: str, num_header_lines: int) -> None:
        path = self.raw_dir / name
        rows = path.read_text().splitlines()[num_header_lines:]
        lines = [header, *(",".join(row.split()) for row in rows)]
        path.with_suffix(".csv").write_text("\r\n".join([*lines, ""]))
        path.unlink()

    def test_csv_without_its_header_is_an_error(self):
        self._to_csv(PARTITION, "000001.jpg,0", num_header_lines=1)
        with self.assertRaisesRegex(
            errors.RawDataError,
            "list_eval_partition.csv, line 1: must be 'image_id,partition'",
        ):
            self._build()

    def test_csv_row_with_a_missing_value_names_file_and_line(self):
        self._to_csv(LANDMARKS, MIRROR_LANDMARKS_HEADER, num_header_lines=2)
        path = (self.raw_dir / LANDMARKS).with_suffix(".csv")
        path.write_text(path.read_text().rsplit(",", 1)[0])
        with self.assertRaisesRegex(
            errors.RawDataError, "celeba.csv, line 9: '000011.jpg,"
        ):
            self._build()

    def test_missing_files_are_asked_for_in_the_plain_layout(self):
        self._move(list_landmarks_align_celeba="Anno/list.txt")
        with self.assertRaisesRegex(
            errors.RawDataError, f"raw/{LANDMARKS} is missing"
        ):
            self._build()
        self._move(img_align_celeba="Img/images")
        with self.assertRaisesRegex(
            errors.RawDataError, "raw/img_align_celeba is missing; unpack"
        ):
            self._build()

    def test_keypoints_are_y_x_of_the_file(self):
        line = (self.raw_dir / LANDMARKS).read_text().splitlines()[2]
        name, x, y, *_ = line.split()

        keypoints = self._read_stills("train")[name]["keypoints"]

        np.testing.assert_array_equal(keypoints[0], [int(y), int(x)])

    def test_images_without_a_row_have_no_annotation(self):
        train = self._read_stills("train")

        self.assertTrue(np.isnan(train["000008.jpg"]["keypoints"]).all())
        self.assertFalse(np.isnan(train["000001.jpg"]["keypoints"]).any())

    def test_who_is_in_which_split(self):
        mafl_train = {f"{n:06d}.jpg" for n in range(1, 5)}
        unlabelled = {f"{n:06d}.jpg" for n in range(8, 11)}

        self.assertCountEqual(
            self._read_stills("train"), mafl_train | unlabelled
        )
        self.assertCountEqual(self._read_stills("mafl_train"), mafl_train)
        self.assertCountEqual(self._read_stills("val"), ["000005.jpg"])
        self.assertCountEqual(
            self._read_stills("mafl_test"), ["000006.jpg", "000007.jpg"]
        )

    def test_jpeg_bytes_are_stored_unchanged(self):
        builder = tfds.builder_from_directory(self._build().path)
        decoders = {"frames": {"image": tfds.decode.SkipDecoding()}}
        for clip in tfds.as_numpy(
            builder.as_dataset("train", decoders=decoders)
        ):
            name = clip["clip_id"].decode()
            original = self.raw_dir / "img_align_celeba" / name
            self.assertEqual(
                clip["frames"]["image"][0], original.read_bytes(), name
            )

    def test_an_image_in_both_mafl_lists_is_an_error(self):
        self._replace("MAFL/training.txt", "000002.jpg", "000006.jpg")
        with self.assertRaisesRegex(
            errors.RawDataError, "000006.jpg .*both mafl_train and mafl_test"
        ):
            self._build()

    def test_a_list_of_keypoints_that_was_cut_is_an_error(self):
        path = self.raw_dir / LANDMARKS
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:8], ""]))  # Of images 1 to 6.
        with self.assertRaisesRegex(
            errors.RawDataError,
            f"{LANDMARKS} has no row for 000007.jpg, which is in mafl_test",
        ):
            self._build()

    def test_row_with_a_missing_value_names_file_and_line(self):
        path = self.raw_dir / LANDMARKS
        lines = path.read_text().splitlines()
        lines[3] = lines[3].rsplit(" ", 1)[0]
        path.write_text("\n".join(lines))
        with self.assertRaisesRegex(
            errors.RawDataError, f"{LANDMARKS}, line 4: '000002.jpg "
        ):
            self._build()

    def test_an_image_of_another_ending_is_hinted_at(self):
        folder = self.raw_dir / "img_align_celeba"
        os.rename(folder / "000003.jpg", folder / "000003.png")
        with self.assertRaisesRegex(
            errors.RawDataError, "000003.jpg', but there is 000003.png: the end"
        ):
            self._build()

    def test_keypoints_of_another_image_are_refused(self):
        path = self.raw_dir / "img_align_celeba/000003.jpg"
        Image.open(path).resize((20, 20)).save(path)
        with self.assertRaisesRegex(
            errors.RawDataError,
            r"000003.jpg has 20 x 20 pixels .* left_eye is listed at x \d+, y",
        ):
            self._build()
        self.assertEqual(self._build(skip_broken=True).skipped, [str(path)])

    def test_images_in_no_list_are_counted(self):
        built = self._build()
        folder = self.raw_dir / "img_align_celeba"
        self.assertEqual(
            list(built.counts),
            [
                f"{folder}: 10 images read; left out: 1 in no list that is used"
                " (000011.jpg)"
            ],
        )

    def test_absent_image_is_named_or_skipped(self):
        (self.raw_dir / "img_align_celeba/000003.jpg").unlink()
        with self.assertRaisesRegex(
            errors.RawDataError, "1 of 10 files .*000003.jpg"
        ):
            self._build()

        built = self._build(skip_broken=True)

        # Image 3 is in train and in mafl_train, and counts once.
        self.assertLen(built.skipped, 1)
        self.assertEqual(built.num_clips["train"], 6)
        self.assertEqual(built.num_clips["mafl_train"], 3)


if __name__ == "__main__":
    tfds.testing.test_main()
