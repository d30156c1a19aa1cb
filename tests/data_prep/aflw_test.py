import os
import shutil
import unicodedata
from unittest import mock

import numpy as np
from PIL import Image
import scipy.io
import tensorflow_datasets as tfds

from data_prep.aflw import aflw_dataset_builder
from data_prep.aflw import make_dummy_data
from tests import builder_case
from tflm import errors


class AflwBuilderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = aflw_dataset_builder.Builder
    SPLITS = {"train": 10, "val": 1, "test": 3}  # 10% of 11 is 1.


class AflwTest(builder_case.BuilderCase):
    DATASET = "aflw"

    def _change(self, part: str, **fields) -> None:
        """Rewrites fields of a keypoint file; None removes one."""
        path = self.raw_dir / f"aflw_{part}_keypoints.mat"
        values = {**scipy.io.loadmat(path), **fields}
        scipy.io.savemat(
            path,
            {
                name: value
                for name, value in values.items()
                if not name.startswith("__") and value is not None
            },
        )

    def _assert_refused(self, words: str) -> None:
        with self.assertRaisesRegex(errors.RawDataError, words) as caught:
            self._sources()
        self.assertNotIn("\n", str(caught.exception))

    def _assert_dots_at_keypoints(self, split: str) -> None:
        for name, frame in self._read_stills(split).items():
            for colour, point in zip(
                make_dummy_data.COLOURS, frame["keypoints"]
            ):
                distance = np.abs(frame["image"].astype(int) - colour)
                dot = np.argwhere(distance.max(axis=-1) < 80)
                with self.subTest(f"{name} {colour}"):
                    self.assertNotEmpty(dot)
                    np.testing.assert_allclose(
                        dot.mean(axis=0), point, atol=0.6
                    )

    def test_keypoints_are_where_the_dots_of_their_colours_are(self):
        for split in ("train", "val", "test"):
            self._assert_dots_at_keypoints(split)

    def test_keypoints_move_with_an_image_that_is_shrunk(self):
        shutil.rmtree(self.raw_dir)
        make_dummy_data.make(self.raw_dir, magnification=12)
        self._assert_dots_at_keypoints("test")
        for name, frame in self._read_stills("test").items():
            self.assertLessEqual(max(frame["image"].shape), 512)
            with Image.open(self.raw_dir / "output" / name) as image:
                np.testing.assert_allclose(
                    frame["scale"] * image.size[::-1], frame["image"].shape[:2]
                )

    def test_the_last_tenth_of_the_training_list_is_val(self):
        lines = (self.raw_dir / "aflw_train_images.txt").read_text().split()
        groups = {
            split: [source.group for source in sources]
            for split, sources in self._sources().items()
        }
        self.assertEqual(groups["train"], lines[:10])
        self.assertEqual(groups["val"], lines[10:])
        lines = (self.raw_dir / "aflw_test_images.txt").read_text().split()
        self.assertEqual(groups["test"], lines)

    def test_tenth_is_rounded_as_the_authors_do(self):
        for num_images, num_val in ((14, 1), (15, 2), (25, 3), (10_122, 1_012)):
            names = [f"{number}.jpg" for number in range(num_images)]
            (self.raw_dir / "aflw_train_images.txt").write_text(
                "\n".join(names)
            )
            self._change(
                "train",
                gt=np.zeros([num_images, 5, 2]),
                hw=np.ones([num_images, 2]),
            )
            sources = self._sources(skip_broken=True)  # Most have no image.
            self.assertLen(sources["val"], num_val)

    def test_nan_keypoints_stay_missing(self):
        points = scipy.io.loadmat(self.raw_dir / "aflw_test_keypoints.mat")[
            "gt"
        ]
        points[0, 2] = np.nan
        self._change("test", gt=points)
        keypoints = self._read_stills("test")["0/test00000_46.jpg"]["keypoints"]
        self.assertEqual(
            list(np.isnan(keypoints).all(axis=-1)),
            [False, False, True, False, False],
        )

    def test_an_image_of_another_size_is_named_or_skipped(self):
        sizes = scipy.io.loadmat(self.raw_dir / "aflw_test_keypoints.mat")["hw"]
        self._change("test", hw=sizes[:, ::-1])  # (width, height)
        with self.assertRaisesRegex(
            errors.RawDataError,
            "0/test00000_46.jpg is 44 x 48 pixels .* are for 48 x 44",
        ):
            self._build()
        self._change("test", hw=np.concatenate([sizes[:2], [[1, 1]]]))
        built = self._build(skip_broken=True)
        self.assertEqual(built.num_clips["test"], 2)
        self.assertLen(built.skipped, 1)

    def test_absent_image_is_named_or_skipped(self):
        (self.raw_dir / "output/1/train00003_49.jpg").unlink()
        with self.assertRaisesRegex(
            errors.RawDataError, "1 of 14 files are missing .*train00003_49.jpg"
        ):
            self._build()
        built = self._build(skip_broken=True)
        self.assertEqual(built.num_clips["train"], 9)

    def test_names_written_as_macos_does(self):
        folder = self.raw_dir / "output/1"
        name = unicodedata.normalize("NFD", "Zoë.jpg")
        os.rename(folder / "train00003_49.jpg", folder / name)
        path = self.raw_dir / "aflw_train_images.txt"
        text = path.read_text().replace("train00003_49.jpg", "Zoë.jpg")
        path.write_text(text)
        self.assertEqual(self._build().num_clips["train"], 10)

    def test_an_image_in_both_lists_is_an_error(self):
        path = self.raw_dir / "aflw_test_images.txt"
        lines = path.read_text().split()
        path.write_text("\n".join([*lines[:2], "0/train00000_46.jpg"]))
        with self.assertRaisesRegex(
            errors.RawDataError, "0/train00000_46.jpg .*both train and test"
        ):
            self._build()

    def test_bad_lists_are_named(self):
        path = self.raw_dir / "aflw_test_images.txt"
        lines = path.read_text().split()
        path.write_text("\n".join([*lines, lines[0]]))
        self._assert_refused("test_images.txt, line 4: .* also in line 1")
        path.write_text("\n".join([lines[0], "", lines[1]]))
        self._assert_refused("test_images.txt, line 2: .* is empty")
        path.write_text("\n".join(lines[:2]))
        self._assert_refused(
            "gt must be 2 x 5 x 2 for the 2 images of aflw_test_images.txt,"
            " got 3 x 5 x 2"
        )
        path.write_bytes(b"0/\xff.jpg\n")
        self._assert_refused("files are missing .'0/ÿ.jpg'")
        path.unlink()
        self._assert_refused("test_images.txt cannot be read .No such file")

    def test_bad_keypoint_files_are_named(self):
        path = self.raw_dir / "aflw_train_keypoints.mat"
        whole = path.read_bytes()
        self._change("train", hw=None)
        self._assert_refused("train_keypoints.mat has no field 'hw'")
        self._change("train", gt="left")
        self._assert_refused("train_keypoints.mat has no field 'gt'")
        self._change("train", gt=np.full([11, 5, 2], np.inf))
        self._assert_refused("train_keypoints.mat: gt has an infinite")
        with mock.patch.object(
            scipy.io, "loadmat", side_effect=ZeroDivisionError("odd")
        ):
            self._assert_refused("train_keypoints.mat is no .*ZeroDivision")
        path.write_bytes(whole[:150])
        self._assert_refused("train_keypoints.mat is no MATLAB 5 file, or dam")
        path.unlink()
        self._assert_refused("train_keypoints.mat cannot be read .No such file")

    def test_another_folder_is_an_error(self):
        shutil.rmtree(self.raw_dir / "output")
        self._assert_refused("output is missing; give the folder of the AFLW")


if __name__ == "__main__":
    tfds.testing.test_main()
