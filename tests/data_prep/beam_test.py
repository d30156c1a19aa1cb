"""Builds by Beam's DirectRunner, against builds without Beam."""

from collections.abc import Iterator
import contextlib
import importlib
import io
import json
import pathlib
import shutil
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

import data_prep
from data_prep import build
from data_prep import clip_builder
from data_prep.celeba import celeba_dataset_builder
from data_prep.images import images_dataset_builder
from data_prep.images import make_dummy_data
from tflm import errors

CELEBA = pathlib.Path(celeba_dataset_builder.__file__).parent / "dummy_data"


def _read_one_and_fail(source: clip_builder.Source) -> Iterator[dict]:
    """Fails after a clip; leaves a file for each source that is read."""
    name, path, *_ = source.spec
    path.with_suffix(".read").touch()
    yield from images_dataset_builder._read(source)
    raise errors.RawDataError(f"{name} has\nno end")


class BeamTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )
        self.error = self.enter_context(
            contextlib.redirect_stderr(io.StringIO())
        )

    def _build(
        self, dataset, raw_dir=None, options=None, folder="beam", **kwargs
    ) -> build.Built:
        return build.build(
            dataset,
            raw_dir and str(raw_dir),
            str(self.root / folder),
            options or {},
            **kwargs,
        )

    def _assert_same(self, dataset, raw_dir=None, options=None) -> None:
        """That Beam writes the files that a build without it writes."""
        expected = self._build(dataset, raw_dir, options, folder="plain")
        actual = self._build(
            dataset, raw_dir, options, beam_runner="DirectRunner"
        )
        self.assertEqual(actual.num_clips, expected.num_clips)
        self.assertEqual(actual.num_frames, expected.num_frames)
        paths = sorted(expected.path.iterdir())
        self.assertEqual(
            [path.name for path in sorted(actual.path.iterdir())],
            [path.name for path in paths],
        )
        for path in paths:
            with self.subTest(path.name):
                there = (actual.path / path.name).read_bytes()
                if path.name == "metadata.json":
                    self.assertEqual(
                        json.loads(there), json.loads(path.read_bytes())
                    )
                else:
                    self.assertEqual(there, path.read_bytes())

    def _images(self) -> pathlib.Path:
        raw_dir = self.root / "images"
        make_dummy_data.make(raw_dir)
        return raw_dir

    def _assert_refused(self, words: str, raw_dir, **kwargs) -> None:
        with self.assertRaisesRegex(errors.RawDataError, words):
            self._build("images", raw_dir, beam_runner="DirectRunner", **kwargs)
        self.assertFalse((self.root / "beam").exists())
        self.assertNotIn("Traceback", self.error.getvalue())

    def test_stills_are_the_same(self):
        self._assert_same("celeba", CELEBA)

    def test_clips_of_several_frames_are_the_same(self):
        self._assert_same(
            "puppets", None, {"num_clips": {"train": 3, "test": 2}}
        )

    def test_a_broken_file_is_named_or_left_out_and_listed(self):
        raw_dir = self.root / "celeba"
        shutil.copytree(CELEBA, raw_dir)
        path = raw_dir / "img_align_celeba/000003.jpg"
        path.write_bytes(b"no image")
        with self.assertRaisesRegex(errors.RawDataError, "000003.jpg does not"):
            self._build("celeba", raw_dir, beam_runner="DirectRunner")
        self.assertFalse((self.root / "beam").exists())
        self.assertNotIn("Traceback", self.error.getvalue())

        built = self._build(
            "celeba", raw_dir, beam_runner="DirectRunner", skip_broken=True
        )

        self.assertEqual(built.skipped, [str(path)])  # Once, of two splits.
        self.assertEqual(
            built.num_frames,
            {"train": 6, "mafl_train": 3, "val": 1, "mafl_test": 2},
        )

    def test_a_split_of_broken_files_is_an_error(self):
        raw_dir = self.root / "raw"
        raw_dir.mkdir()
        for name in ("a.png", "b.png"):
            (raw_dir / name).write_bytes(b"no image")
        self._assert_refused(
            "split train has no readable image", raw_dir, skip_broken=True
        )

    def test_after_an_error_nothing_else_is_read(self):
        raw_dir = self._images()
        with mock.patch.object(
            images_dataset_builder.Builder,
            "read",
            staticmethod(_read_one_and_fail),
        ):
            self._assert_refused("has\nno end", raw_dir)
        self.assertLen(list(raw_dir.rglob("*.read")), 1)

    def test_options_that_beam_refuses(self):
        for runner, options, words in (
            ("NoSuchRunner", (), "--beam_runner=NoSuchRunner: .*DirectRunner"),
            ("no.such.Runner", (), "--beam_runner=no.such.Runner: .*'no'"),
            (
                "DirectRunner",
                ("direct_num_workers=two",),
                r"\A--beam_options: argument --direct_num_workers: .*'two'\Z",
            ),
        ):
            with self.subTest(words):
                with self.assertRaisesRegex(build.BuildError, words):
                    self._build(
                        "celeba",
                        CELEBA,
                        beam_runner=runner,
                        beam_options=options,
                    )
                self.assertFalse((self.root / "beam").exists())

    def test_only_a_build_by_beam_needs_beam(self):
        self.enter_context(mock.patch.dict(sys.modules, {"apache_beam": None}))
        sys.modules.pop("data_prep.beam_pipeline", None)
        if hasattr(data_prep, "beam_pipeline"):
            del data_prep.beam_pipeline
        with self.assertRaises(ImportError):
            importlib.import_module("data_prep.beam_pipeline")

        with self.assertRaisesRegex(
            build.BuildError, r"pip install apache-beam==[\d.]+\Z"
        ):
            self._build("celeba", CELEBA, beam_runner="DirectRunner")
        built = self._build("celeba", CELEBA)

        self.assertEqual(built.num_clips["train"], 7)


if __name__ == "__main__":
    absltest.main()
