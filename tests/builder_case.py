"""A copy of a dataset's dummy data, its build, and what is in the shards."""

import importlib
import pathlib
import shutil
import tempfile

from absl.testing import parameterized
import tensorflow_datasets as tfds

from data_prep import build
from data_prep import clip_builder

DATA_PREP = pathlib.Path(build.__file__).parent


class BuilderCase(parameterized.TestCase):
    """Base of the tests of a builder; they may change the copy."""

    DATASET: str

    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )
        self.raw_dir = self.root / "raw"
        shutil.copytree(DATA_PREP / self.DATASET / "dummy_data", self.raw_dir)

    def _build(self, skip_broken=False, **options) -> build.Built:
        return build.build(
            self.DATASET,
            str(self.raw_dir),
            str(self.root / "data"),
            options,
            skip_broken=skip_broken,
        )

    def _sources(self, **options) -> dict[str, list[clip_builder.Source]]:
        module = importlib.import_module(
            f"data_prep.{self.DATASET}.{self.DATASET}_dataset_builder"
        )
        builder = module.Builder(data_dir=self.root / "data", **options)
        return builder.sources(self.raw_dir)

    def _read(self, split: str, **options) -> dict[str, dict]:
        """Maps clip id to the clip's frames."""
        builder = tfds.builder_from_directory(self._build(**options).path)
        return {
            clip["clip_id"].decode(): clip["frames"]
            for clip in tfds.as_numpy(builder.as_dataset(split))
        }

    def _read_stills(self, split: str, **options) -> dict[str, dict]:
        """Maps clip id to the clip's only frame."""
        found = {}
        for clip_id, frames in self._read(split, **options).items():
            self.assertLen(frames["index"], 1)
            found[clip_id] = {name: value[0] for name, value in frames.items()}
        return found
