import gzip
import pathlib
import shutil
import tempfile
from unittest import mock

from absl.testing import parameterized
import numpy as np
import tensorflow_datasets as tfds

from data_prep import build
from data_prep.smallnorb import make_dummy_data
from data_prep.smallnorb import smallnorb_dataset_builder
from tflm import errors

DUMMY_DATA = (
    pathlib.Path(smallnorb_dataset_builder.__file__).parent / "dummy_data"
)
TRAINING = "smallnorb-5x46789x9x18x6x2x96x96-training-{}.mat.gz"
VIEWPOINTS = [(a, e) for e in (0, 1) for a in (0, 1, 17)]


class SmallnorbBuilderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = smallnorb_dataset_builder.Builder
    # 5 categories of one toy (of two in test), 2 lights.
    SPLITS = {"train": 10, "val": 10, "test": 20}


class SmallnorbTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )
        self.raw_dir = self.root / "raw"
        shutil.copytree(DUMMY_DATA, self.raw_dir)

    def _build(self, dataset="smallnorb/car", raw_dir=None) -> build.Built:
        return build.build(
            dataset,
            str(raw_dir or self.raw_dir),
            str(self.root / "data"),
            {},
        )

    def _read(self, path: pathlib.Path, split: str) -> dict[str, dict]:
        """Maps clip id to the clip's frames."""
        clips_of = tfds.builder_from_directory(path).as_dataset(split)
        return {
            clip["clip_id"].decode(): clip["frames"]
            for clip in tfds.as_numpy(clips_of)
        }

    def _edit(self, kind: str, edit) -> None:
        """Replaces the unpacked bytes of a file by what `edit` returns."""
        path = self.raw_dir / TRAINING.format(kind)
        content = bytearray(gzip.decompress(path.read_bytes()))
        path.write_bytes(gzip.compress(bytes(edit(content))))

    def test_dots_of_the_left_camera_are_where_the_viewpoint_says(self):
        for split in ("train", "test"):
            found = self._read(self._build().path, split)
            for clip_id, frames in found.items():
                for image, azimuth, elevation in zip(
                    frames["image"], frames["azimuth"], frames["elevation"]
                ):
                    self.assertEqual(image.shape, (24, 24, 3))
                    rows, columns = np.nonzero(image.min(axis=-1) == 255)
                    self.assertEqual(
                        (rows.mean(), columns.mean()),
                        make_dummy_data.dot_yx(azimuth, elevation),
                        f"{clip_id} {azimuth} {elevation}",
                    )

    def test_a_clip_is_a_toy_under_one_light_from_all_sides(self):
        found = self._read(self._build().path, "train")

        self.assertCountEqual(found, ["car_4_0", "car_4_5"])
        for clip_id, frames in found.items():
            lighting = int(clip_id[-1])
            self.assertEqual(
                list(zip(frames["azimuth"], frames["elevation"])), VIEWPOINTS
            )
            np.testing.assert_array_equal(frames["index"], range(6))
            np.testing.assert_array_equal(frames["lighting"], [lighting] * 6)
            # The light is the background, the toy (4: a car) the bars.
            np.testing.assert_array_equal(
                frames["image"][:, 23, 23], np.full([6, 3], 40 + 10 * lighting)
            )
            for row in (1, 3):
                bar = (frames["image"][:, row, :, 0] == 150).sum(axis=1)
                np.testing.assert_array_equal(bar, [9] * 6)

    def test_toys_are_in_one_split(self):
        path = self._build().path

        self.assertEqual(path, self.root / "data/smallnorb/car/1.1.0")
        for split, toys in (
            ("train", {"car_4"}),
            ("val", {"car_9"}),
            ("test", {"car_0", "car_3"}),
        ):
            found = {name[:-2] for name in self._read(path, split)}
            self.assertEqual(found, toys)

    def test_without_a_category_all_are_there(self):
        path = self._build("smallnorb").path

        self.assertEqual(path, self.root / "data/smallnorb/1.1.0")
        self.assertEqual(
            {name.split("_")[0] for name in self._read(path, "train")},
            set(smallnorb_dataset_builder.CATEGORIES),
        )

    def test_unpacked_files_give_the_same_and_nothing_is_left_behind(self):
        packed = self._build().path
        frames = self._read(packed, "val")
        self.assertEmpty(
            [p for p in packed.parent.rglob("*") if ".mat" in p.name]
        )
        shutil.rmtree(packed)
        unpacked = self.root / "unpacked"
        unpacked.mkdir()
        for path in self.raw_dir.iterdir():
            content = gzip.decompress(path.read_bytes())
            (unpacked / path.stem).write_bytes(content)

        again = self._read(self._build(raw_dir=unpacked).path, "val")

        self.assertEqual(list(frames), list(again))
        for name in frames:
            np.testing.assert_array_equal(
                frames[name]["image"], again[name]["image"]
            )

    def test_without_a_folder_the_files_are_downloaded(self):
        def download(manager, urls):
            self.assertLen(urls, 6)
            folder = pathlib.Path(manager.download_dir)
            for name, url in urls.items():
                self.assertEndsWith(url, name)
                # tfds checks what it gets against these.
                self.assertEqual(manager._url_infos[url].filename, name)
                shutil.copy(self.raw_dir / name, folder / f"hash-{name}")
            return {name: folder / f"hash-{name}" for name in urls}

        with mock.patch.object(
            tfds.download.DownloadManager, "download", download
        ):
            built = build.build(
                "smallnorb/car", None, str(self.root / "data"), {}
            )

        self.assertEqual(built.num_clips, {"train": 2, "val": 2, "test": 4})

    def test_a_failed_download_says_what_to_do(self):
        with mock.patch.object(
            tfds.download.DownloadManager,
            "download",
            side_effect=OSError("no network"),
        ):
            with self.assertRaisesRegex(
                errors.RawDataError, "no network.*--raw_dir"
            ):
                build.build("smallnorb", None, str(self.root / "data"), {})
        self.assertFalse((self.root / "data").exists())

    @parameterized.parameters(
        ("cat", lambda content: b"\x00" + content[1:], "cat.*no matrix file"),
        ("dat", lambda content: content[:-1], "training-dat.mat is cut short"),
        ("dat", lambda content: content[:7], "dat.*no matrix file"),
        (
            "info",
            lambda content: content[:8] + content[12:],
            "info.mat is cut short",
        ),
        ("cat", lambda content: content[:-4] + b"\5\0\0\0", "cat.* mean noth"),
    )
    def test_a_broken_file_is_named(self, kind, edit, message):
        self._edit(kind, edit)
        with self.assertRaisesRegex(errors.RawDataError, message):
            self._build()
        self.assertFalse((self.root / "data").exists())

    def test_an_odd_azimuth_is_an_error(self):
        def edit(content):
            info = np.frombuffer(content, "<i4", offset=20).reshape(-1, 4)
            info = info + [0, 0, 1, 0]
            return content[:20] + info.astype("<i4").tobytes()

        self._edit("info", edit)
        with self.assertRaisesRegex(errors.RawDataError, "info.* mean nothing"):
            self._build()

    def test_files_of_other_lengths_do_not_fit(self):
        def edit(content):
            labels = np.frombuffer(content, "<i4", offset=20)[1:]
            return make_dummy_data.encode(make_dummy_data.INTEGERS, labels)

        self._edit("cat", edit)
        with self.assertRaisesRegex(
            errors.RawDataError, r"cat.mat must be int32 \[120\] beside"
        ):
            self._build()

    def test_a_truncated_archive_is_named(self):
        path = self.raw_dir / TRAINING.format("dat")
        path.write_bytes(path.read_bytes()[:-20])
        with self.assertRaisesRegex(
            errors.RawDataError, "training-dat.mat.gz does not unpack"
        ):
            self._build()

    def test_an_archive_that_unpacks_to_too_much_is_named(self):
        with mock.patch.object(smallnorb_dataset_builder, "MAX_BYTES", 10_000):
            with self.assertRaisesRegex(
                errors.RawDataError, "training-dat.mat.gz unpacks to more"
            ):
                self._build()

    def test_a_missing_file_is_named(self):
        (self.raw_dir / TRAINING.format("info")).unlink()
        with self.assertRaisesRegex(
            errors.RawDataError, "training-info.mat.gz is missing"
        ):
            self._build()


if __name__ == "__main__":
    tfds.testing.test_main()
