from collections.abc import Iterator
import contextlib
import io
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep import clip_builder
from data_prep import clips
from data_prep import progress
from tflm import errors

Source = clip_builder.Source


def _read(source: Source) -> Iterator[dict | errors.Broken]:
    """Two clips of one colour, unless `spec`, a number, is negative."""
    if source.spec < 0:
        yield errors.Broken(f"{-source.spec}.png", f"{-source.spec}.png broke")
        return
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (source.spec, 0, 0)).save(buffer, "PNG")
    for part in "ab":
        yield clips.still(
            f"{source.spec}{part}", buffer.getvalue(), np.full([1, 2], np.nan)
        )


def _sources(*numbers: int) -> list[Source]:
    return [Source(f"group {number}", 2, number) for number in numbers]


class ColoursBuilder(clip_builder.ClipBuilder, skip_registration=True):
    """Builds the splits that it is given."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="bright")]
    MAY_SHARE = (frozenset(("train", "labelled")),)
    read = staticmethod(_read)

    def __init__(self, splits: dict[str, list[Source]], **kwargs):
        self._splits = splits
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=clips.features(0),
            metadata=clips.metadata(
                keypoint_names=[],
                left_right_swaps=[],
                normalizing_pair=None,
                splits={},
            ),
        )

    def sources(self, raw_dir: pathlib.Path | None) -> dict[str, list[Source]]:
        self.raw_dir = raw_dir
        return self._splits


class RawColoursBuilder(ColoursBuilder, skip_registration=True):
    MANUAL_DOWNLOAD_INSTRUCTIONS = "a folder of colours"


class FetchedColoursBuilder(RawColoursBuilder, skip_registration=True):
    RAW_DIR_IS_OPTIONAL = True


class ClipBuilderTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )

    def _build(
        self, builder_class=ColoursBuilder, *, raw_dir=None, **options
    ) -> ColoursBuilder:
        data_dir = tempfile.mkdtemp(dir=self.root)
        builder = builder_class(data_dir=data_dir, **options)
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(
                download_dir=self.root / "downloads",
                download_config=tfds.download.DownloadConfig(
                    manual_dir=raw_dir, try_download_gcs=False
                ),
            )
        return builder

    def test_two_workers_write_the_same_bytes_as_one(self):
        splits = {"train": _sources(*range(40))}
        files = []
        for num_workers in (1, 2):
            builder = self._build(splits=splits, num_workers=num_workers)
            path = pathlib.Path(builder.data_dir)
            (shard,) = path.glob("*.tfrecord*")
            files.append(shard.read_bytes())
            self.assertEqual(builder.num_frames, {"train": 80})
        self.assertEqual(files[0], files[1])

    def test_a_group_in_two_splits_is_named(self):
        splits = {"train": _sources(1, 7), "test": _sources(7, 2)}
        with self.assertRaisesRegex(
            errors.RawDataError, "group 7 .1 of 1. is in both train and test"
        ):
            self._build(splits=splits)

    def test_only_pairs_that_may_share_a_group_do(self):
        shared = _sources(1)
        builder = self._build(splits={"train": shared, "labelled": shared})
        self.assertEqual(builder.num_frames, {"train": 2, "labelled": 2})

        with self.assertRaisesRegex(errors.RawDataError, "labelled and test"):
            self._build(splits={"labelled": shared, "test": shared})

    def test_a_split_without_sources_is_refused(self):
        with self.assertRaisesRegex(errors.RawDataError, "split val;"):
            self._build(splits={"train": _sources(1), "val": []})

    def test_a_broken_file_ends_the_build_or_is_left_out_and_listed(self):
        broken = _sources(-3)
        splits = {
            "train": [*_sources(1, 2), *broken],
            "labelled": [*broken, *_sources(1)],
        }
        with self.assertRaisesRegex(
            errors.RawDataError,
            r"\A3.png broke, or pass --skip_broken to .* out\Z",
        ):
            self._build(splits=splits)

        builder = self._build(splits=splits, skip_broken=True)

        self.assertEqual(builder.broken, ["3.png"])  # Once, of two splits.
        self.assertEqual(builder.num_frames, {"train": 4, "labelled": 2})

    def test_a_split_of_broken_files_is_an_error(self):
        splits = {"train": _sources(1), "test": _sources(-3)}
        with self.assertRaisesRegex(
            errors.RawDataError, "split test has no readable image"
        ):
            self._build(splits=splits, skip_broken=True)

    def test_names_that_are_no_text_are_named(self):
        clip = clips.clip("b\udcffd.png", [])
        with self.assertRaisesRegex(errors.RawDataError, r"b\\udcffd.png"):
            clip_builder.key(clip)

        with mock.patch.object(
            ColoursBuilder,
            "sources",
            side_effect=lambda raw_dir: "b\udcffd.png".encode(),
        ):
            with self.assertRaisesRegex(errors.RawDataError, r"b\\udcffd.png"):
                self._build(splits={})

    def test_the_display_of_a_split_ends_with_it(self):
        said = []

        class Display:
            def __init__(self, description, total, unit):
                said.append((description, total, unit))

            def __enter__(self):
                return self

            def advance(self, count):
                said.append(count)

            def __exit__(self, *unused):
                said.append("end")

        splits = {"train": _sources(1, -2), "test": _sources(3)}
        with mock.patch.object(progress, "Display", Display):
            self._build(splits=splits, skip_broken=True)

        self.assertEqual(
            said,
            [
                ("colours_builder train", 4, "frames"),
                *(1, 1, 1, "end"),
                ("colours_builder test", 2, "frames"),
                *(1, 1, "end"),
            ],
        )

    def test_a_config_is_optional_and_has_its_own_folder(self):
        splits = {"train": _sources(1)}
        for config, folder in (
            (None, "colours_builder/1.0.0"),
            ("bright", "colours_builder/bright/1.0.0"),
        ):
            with self.subTest(str(config)):
                builder = self._build(splits=splits, config=config)
                path = pathlib.Path(builder.data_dir)
                root = path.parents[len(pathlib.Path(folder).parts) - 1]
                self.assertEqual(builder.builder_config_name, config)
                self.assertEqual(path, root / folder)
                files = [p for p in root.rglob("*") if p.is_file()]
                self.assertEqual({p.parent for p in files}, {path})

    def test_who_gets_a_raw_dir(self):
        splits = {"train": _sources(1)}
        (self.root / "raw").mkdir()
        (self.root / "raw/red.png").touch()
        raw_dir = self.root / "raw"

        self.assertIsNone(self._build(splits=splits).raw_dir)
        for builder_class in (RawColoursBuilder, FetchedColoursBuilder):
            builder = self._build(builder_class, splits=splits, raw_dir=raw_dir)
            self.assertEqual(builder.raw_dir, raw_dir)
        builder = self._build(FetchedColoursBuilder, splits=splits)
        self.assertIsNone(builder.raw_dir)


if __name__ == "__main__":
    absltest.main()
