"""Builders as Apache Beam pipelines; only this module imports Beam.

Every worker of the runner reads RAW_DIR and writes below DATA_DIR: both must
be on a disk that all workers share, under the same paths. The workers also need
this package on their PYTHONPATH and what requirements.txt lists, for example in
a container image (Beam's option sdk_container_image).
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import pickle
import shutil
import uuid

import apache_beam as beam
from apache_beam import runners
from apache_beam.options import pipeline_options
from apache_beam.options import pipeline_options_validator
from apache_beam.runners.portability import fn_api_runner

from data_prep import clip_builder
from data_prep import clips
from data_prep import workers
from tflm import errors


def settings(
    runner_name: str, assignments: Sequence[str]
) -> tuple[runners.PipelineRunner, pipeline_options.PipelineOptions]:
    """What executes a pipeline, and its options.

    Args:
        runner_name: of a runner that Beam knows, or its module and class.
        assignments: options as KEY=VALUE, or KEY for a switch. Beam keeps keys
            that it does not know, for some runners have their own.

    Raises:
        ValueError: if Beam refuses one of them; one line.
    """
    runner = _runner(runner_name)
    options = _options(assignments)
    errors = pipeline_options_validator.PipelineOptionsValidator(
        options, runner
    ).validate()
    if errors:
        raise ValueError(f"--beam_options: {'; '.join(errors)}")
    return runner, options


def _runner(name: str) -> runners.PipelineRunner:
    if name.lower() in ("direct", "directrunner"):
        # Under this name Beam itself would first try to fetch a program from
        # the network, and then fall back to this runner.
        return fn_api_runner.FnApiRunner()
    try:
        return runners.create_runner(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--beam_runner={name}: {error}") from error


def _options(
    assignments: Sequence[str],
) -> pipeline_options.PipelineOptions:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = pipeline_options.PipelineOptions(
                [f"--{assignment}" for assignment in assignments]
            )
            options.get_all_options()  # Only this reads them all.
    except SystemExit:  # After argparse has said why.
        reason = said.getvalue().strip().rpartition("error: ")[-1]
        raise ValueError(f"--beam_options: {reason}") from None
    return options


@dataclasses.dataclass(frozen=True)
class Notes:
    """What a pipeline finds out beside clips, in files of a scratch folder.

    They are not outputs of the pipeline, for one that fails has none. A note
    has the same file whenever it is made: runners may do work twice.
    """

    folder: pathlib.Path

    def __post_init__(self):
        self.folder.mkdir(exist_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def set_error(self, message: str) -> None:
        """Notes what ends the build; of several errors one is kept."""
        self._write("error", message)

    def has_error(self) -> bool:
        return (self.folder / "error").exists()

    def raise_error(self) -> None:
        """Raises RawDataError with the message, if there is one."""
        if self.has_error():
            message = json.loads((self.folder / "error").read_text())
            raise errors.RawDataError(message) from None

    def add_broken(self, path: str) -> None:
        digest = hashlib.md5(os.fsencode(path), usedforsecurity=False)
        self._write(f"broken-{digest.hexdigest()}", path)

    def broken(self) -> list[str]:
        """Paths of the files that were left out, sorted."""
        return sorted(self._read("broken-").values())

    def set_num_frames(self, num_frames: int, split: str) -> None:
        self._write(f"frames-{split}", num_frames)

    def num_frames(self) -> dict[str, int]:
        """Maps split to frames."""
        return self._read("frames-")

    def add_clip(self, split: str) -> None:
        """Notes that the split has one at least."""
        path = self.folder / f"clip-{split}"
        if not path.exists():
            path.touch()

    def add_empty(self, split: str, source: int) -> None:
        """Notes that a source has no clip."""
        self._write(f"empty-{split}-{source}", True)

    def is_empty(self, split: str, num_sources: int) -> bool:
        """Whether all sources of the split are noted as empty."""
        if (self.folder / f"clip-{split}").exists():
            return False
        return len(self._read(f"empty-{split}-")) == num_sources

    def _write(self, name: str, value: object) -> None:
        scratch = self.folder / f"scratch-{uuid.uuid4().hex}"
        scratch.write_text(json.dumps(value))
        scratch.replace(self.folder / name)  # Nobody reads half of it.

    def _read(self, prefix: str) -> dict[str, object]:
        return {
            path.name.removeprefix(prefix): json.loads(path.read_text())
            for path in self.folder.glob(f"{prefix}*")
        }


class Examples(beam.PTransform):
    """The clips of a split, as pairs of key and clip.

    Args:
        split: its name.
        sources: what to read.
        read: see `clip_builder.ClipBuilder`.
        skip_broken: see `clip_builder.ClipBuilder`.
        notes: says afterwards how the reading went. If it has an error, the
            clips are worth nothing.
    """

    def __init__(
        self,
        split: str,
        sources: Sequence[clip_builder.Source],
        read: clip_builder.Read,
        skip_broken: bool,
        notes: Notes,
    ):
        super().__init__()
        self._split = split
        self._sources = sources
        self._read = read
        self._skip_broken = skip_broken
        self._notes = notes

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        # In a file, for runners limit the size of a pipeline's description.
        path = self._notes.folder / f"sources-{self._split}"
        with open(path, "wb") as file:
            for numbered in enumerate(self._sources):
                pickle.dump(numbered, file)
        read = _Read(
            self._split,
            len(self._sources),
            self._read,
            self._skip_broken,
            self._notes,
        )
        examples = (
            pipeline
            | beam.Create([path])
            | "Sources" >> beam.FlatMap(_load_sources)
            | beam.Reshuffle()  # So that each may go to another worker.
            | "Read" >> beam.ParDo(read)
        )
        _ = (
            examples
            | "Frames" >> beam.Map(_num_frames)
            | beam.CombineGlobally(sum)
            | "Note" >> beam.Map(self._notes.set_num_frames, self._split)
        )
        return examples


def _load_sources(
    path: pathlib.Path,
) -> Iterator[tuple[int, clip_builder.Source]]:
    """Reads what `Examples` has written."""
    with open(path, "rb") as file:
        with contextlib.suppress(EOFError):
            while True:
                yield pickle.load(file)


def _num_frames(example: tuple[str, dict]) -> int:
    _, clip = example
    return len(clip["frames"])


class _Read(beam.DoFn):
    """Reads a source; after an error anywhere, none is read any more."""

    def __init__(
        self,
        split: str,
        num_sources: int,
        read: clip_builder.Read,
        skip_broken: bool,
        notes: Notes,
    ):
        super().__init__()
        self._split = split
        self._num_sources = num_sources
        self._read = read
        self._skip_broken = skip_broken
        self._notes = notes

    def process(
        self, numbered: tuple[int, clip_builder.Source]
    ) -> Iterator[tuple[str, dict]]:
        if not self._notes.has_error():
            try:
                yield from self._clips(*numbered)
            except (errors.RawDataError, OSError) as error:
                self._notes.set_error(str(error))
        if self._notes.has_error():
            # tfds fails, and Beam shows how, if a split has no clip at all.
            yield uuid.uuid4().hex, clips.clip("", [])

    def _clips(
        self, number: int, source: clip_builder.Source
    ) -> Iterator[tuple[str, dict]]:
        is_empty = True
        for item in workers.items(self._read, source):
            if isinstance(item, errors.Broken):
                if not self._skip_broken:
                    raise clip_builder.refusal(item)
                self._notes.add_broken(item.path)
                continue
            self._notes.add_clip(self._split)
            is_empty = False
            yield clip_builder.key(item), item
        if is_empty:
            self._notes.add_empty(self._split, number)
            if self._notes.is_empty(self._split, self._num_sources):
                raise clip_builder.no_clips(self._split)
