import os
import shutil
import unicodedata

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep import held_out
from data_prep.voxceleb import voxceleb_dataset_builder
from tests import builder_case
from tflm import errors

ADA_1, ADA_2 = "Ada_Example/aB-1/0000", "Ada_Example/cD_2/0000"
BO, ZOE = "Bo_Example/eF3/0000", "Zoe_Example/gH4/0000"


class VoxcelebBuilderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = voxceleb_dataset_builder.Builder
    SPLITS = {"train": 3, "val": 1}  # Clips: one a video.


class VoxcelebTest(builder_case.BuilderCase):
    DATASET = "voxceleb"

    def _read(self, split: str, decode=True, **options) -> dict[str, dict]:
        """Maps clip id to its frames; their images maybe as bytes."""
        path = self._build(**options).path
        decoders = {"frames": {"image": tfds.decode.SkipDecoding()}}
        dataset = tfds.builder_from_directory(path).as_dataset(
            split, decoders=None if decode else decoders
        )
        return {
            clip["clip_id"].decode(): clip["frames"]
            for clip in tfds.as_numpy(dataset)
        }

    def _exclude(self, text: str) -> dict[str, str]:
        path = self.root / "exclude.txt"
        path.write_text(text)
        return {"exclude_identities": str(path)}

    def test_a_clip_has_the_utterances_of_one_video(self):
        train = self._read("train", decode=False)
        self.assertCountEqual(train, [ADA_1, ADA_2, BO])
        folder = self.raw_dir / "Ada_Example/1.6/aB-1"
        self.assertEqual(
            list(train[ADA_1]["image"]),
            [  # 2 before 10.
                (folder / name).read_bytes()
                for name in (
                    "1/0000025.jpg",
                    "1/0000050.jpg",
                    "2/0000025.jpg",
                    "10/0000025.jpg",
                )
            ],
        )
        self.assertEqual(list(train[ADA_1]["index"]), [0, 1, 2, 3])

    def test_there_are_no_annotations(self):
        builder = tfds.builder_from_directory(self._build().path)
        self.assertEqual(builder.info.metadata["keypoint_names"], [])
        for frames in self._read("train").values():
            self.assertTrue(np.isnan(frames["keypoints"]).all())

    def test_an_identity_is_in_val_by_its_name_alone(self):
        position = held_out.position
        self.assertLess(position("Zoe_Example"), 0.05)
        self.assertBetween(position("Ada_Example"), 0.5, 0.6)
        self.assertGreater(position("Bo_Example"), 0.6)
        groups = {
            split: {source.group for source in sources}
            for split, sources in self._sources(val_fraction=0.6).items()
        }
        self.assertEqual(
            groups,
            {"train": {"Bo_Example"}, "val": {"Ada_Example", "Zoe_Example"}},
        )

    def test_no_val_split_if_its_share_is_0(self):
        built = self._build(val_fraction=0.0)
        self.assertEqual(built.num_clips, {"train": 4})
        metadata = tfds.builder_from_directory(built.path).info.metadata
        self.assertEqual(metadata["splits"], {"train": "train"})

    def test_excluded_identities_are_in_no_split(self):
        options = self._exclude("Ada_Example\n\n")
        self.assertCountEqual(self._read("train", **options), [BO])
        self.assertCountEqual(self._read("val", **options), [ZOE])

    def test_an_excluded_identity_that_is_not_there_is_an_error(self):
        options = self._exclude("\nAda_Example\nBo Example\n")
        with self.assertRaisesRegex(
            errors.RawDataError,
            "exclude.txt: 1 of 2 .* in .*raw .line 3: 'Bo Example'",
        ):
            self._build(**options)

    def test_a_name_written_as_macos_does_is_excluded(self):
        name = unicodedata.normalize("NFD", "Zoë_Example")
        os.rename(self.raw_dir / "Bo_Example", self.raw_dir / name)
        options = self._exclude("Zoë_Example\n")
        self.assertCountEqual(self._read("train", **options), [ADA_1, ADA_2])

    def test_what_is_left_out_is_counted(self):
        (self.raw_dir / "notes.txt").touch()
        image = self.raw_dir / "Bo_Example/eF3/0000100.jpg"
        shutil.copy(image, self.raw_dir)
        shutil.copy(image, self.raw_dir / "Ada_Example")
        built = self._build(**self._exclude("Bo_Example"))
        self.assertEqual(
            list(built.counts),
            [
                f"{self.raw_dir}: 8 images read; left out: 1 with another"
                " ending (notes.txt), 1 in no IDENTITY/VIDEO or"
                " IDENTITY/VIDEO/UTTERANCE (0000100.jpg), 1 beside 1.6"
                " (Ada_Example/0000100.jpg), 3 of excluded identities"
                " (Bo_Example/eF3/0000100.jpg, Bo_Example/eF3/0000200.jpg,"
                " Bo_Example/eF3/0000300.jpg)",
                f"{self.root}/exclude.txt: 1 identities read",
            ],
        )

    def test_a_linked_identity_is_read_once(self):
        shutil.move(self.raw_dir / "Bo_Example", self.root / "Bo")
        for name in ("Bo_Example", "Cy_Example"):
            (self.raw_dir / name).symlink_to(self.root / "Bo")
        self.assertCountEqual(self._read("train"), [ADA_1, ADA_2, BO])

    def test_unreadable_exclude_file_is_named(self):
        with self.assertRaisesRegex(
            errors.RawDataError, "exclude_identities=no.txt cannot be read"
        ):
            self._build(exclude_identities="no.txt")

    def test_empty_split_says_which_fraction_helps(self):
        with self.assertRaisesRegex(
            errors.RawDataError, "split val; --val_fraction=0.6 is enough"
        ):
            self._build(**self._exclude("Zoe_Example"))
        with self.assertRaisesRegex(
            errors.RawDataError, "split train; lower --val_fraction"
        ):
            self._build(val_fraction=0.9)
        with self.assertRaisesRegex(
            errors.RawDataError, "val_fraction=1.0 must be"
        ):
            self._build(val_fraction=1.0)

    def test_long_videos_are_cut_into_strided_clips(self):
        folder = self.raw_dir / "Bo_Example/eF3"
        for number in range(4, 41):
            (folder / f"{number}00.jpg").hardlink_to(folder / "0000100.jpg")
        train = self._read("train", decode=False)
        for start in (0, 1):  # 40 frames: more than one clip can hold.
            self.assertEqual(
                list(train[f"Bo_Example/eF3/{start:04d}"]["index"]),
                list(range(start, 40, 2)),
            )
        for source in self._sources()["train"]:
            read = voxceleb_dataset_builder.Builder.read(source)
            self.assertEqual({clip["video"] for clip in read}, {source.spec[0]})

    def test_large_images_are_shrunk(self):
        path = self.raw_dir / "Bo_Example/eF3/0000200.jpg"
        pixels = np.zeros([400, 600, 3], np.uint8)
        pixels[:, 300:] = 255
        for size, expected in (
            ((300, 200), (171, 256)),
            ((800, 400), (128, 256)),
            ((256, 171), (171, 256)),
        ):
            shutil.rmtree(self.root / "data", ignore_errors=True)
            Image.fromarray(pixels).resize(size).save(path)
            # To be read as one array, the images of a clip have one size.
            for name in ("0000100.jpg", "0000300.jpg"):
                shutil.copy(path, path.parent / name)
            frames = self._read("train")[BO]
            images = frames["image"]
            self.assertEqual(images.shape[1:], (*expected, 3))
            np.testing.assert_allclose(
                frames["scale"][1], np.divide(expected, size[::-1]), rtol=1e-6
            )
            self.assertLess(images[1, :, 120].max(), 20)
            self.assertGreater(images[1, :, 136].min(), 235)

    def test_absent_and_broken_frames_are_named_or_skipped(self):
        path = self.raw_dir / "Bo_Example/eF3/0000200.jpg"
        path.write_bytes(path.read_bytes()[:200])
        with self.assertRaisesRegex(
            errors.RawDataError, "eF3/0000200.jpg does not decode"
        ):
            self._build()

        built = self._build(skip_broken=True)

        self.assertEqual(built.skipped, [str(path)])
        self.assertEqual(built.num_frames, {"train": 8, "val": 2})

    def test_links_to_folders_above_and_hidden_files_are_harmless(self):
        (self.raw_dir / "Bo_Example/eF3/up").symlink_to(self.raw_dir)
        (self.raw_dir / "Bo_Example/loop").symlink_to("loop")
        (self.raw_dir / "Bo_Example/eF3/._1.jpg").write_bytes(b"no image")
        (self.raw_dir / ".git/eF3").mkdir(parents=True)
        shutil.copy(
            self.raw_dir / "Bo_Example/eF3/0000100.jpg",
            self.raw_dir / ".git/eF3",
        )
        self.assertEqual(self._build().num_frames, {"train": 9, "val": 2})

    def test_a_name_that_is_no_text_is_named(self):
        folder = os.fsencode(self.raw_dir) + b"/Bo_Example"
        os.rename(folder + b"/eF3", folder + b"/\xff")
        with self.assertRaisesRegex(
            errors.RawDataError, r"Bo_Example/\\udcff.*rename"
        ):
            self._build()

    def test_a_folder_of_another_depth_is_an_error(self):
        shutil.rmtree(self.raw_dir / "Bo_Example")
        shutil.rmtree(self.raw_dir / "Zoe_Example")
        for raw_dir in (self.root, self.raw_dir / "Ada_Example/1.6/aB-1"):
            self.raw_dir = raw_dir
            with self.assertRaisesRegex(
                errors.RawDataError, "holds no IDENTITY/VIDEO/"
            ):
                self._sources()


if __name__ == "__main__":
    tfds.testing.test_main()
