"""Builds the shards of one dataset, once."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import fcntl
import importlib
import io
import json
import os
import pathlib
import shutil
import time

from absl import logging
import tensorflow as tf
import tensorflow_datasets as tfds

from data_prep import clip_builder


class BuildError(Exception):
    """A build that cannot be done; the message is one line with a remedy."""


@dataclasses.dataclass(frozen=True)
class Built:
    """A finished build."""

    path: pathlib.Path
    is_new: bool  # False if an earlier run built it.
    seconds: float
    num_clips: dict[str, int]  # Per split.
    num_frames: dict[str, int]  # Per split.
    skipped: Sequence[str]  # Broken files that were left out.


def build(
    dataset: str,
    raw_dir: str | None,
    data_dir: str,
    options: Mapping[str, object],
    *,
    skip_broken: bool = False,
    num_workers: int = 1,
) -> Built:
    """Builds `dataset` below `data_dir`, unless that is done already.

    The shards are written to a folder named incomplete.*, which no reader
    opens, and which is renamed when it is whole and deleted when it is not: at
    once after an exception, by the next run after a SIGKILL.

    Args:
        dataset: a folder of data_prep.
        raw_dir: the folder of the raw data, None if the dataset is generated.
        data_dir: the shards go to DATA_DIR/DATASET/VERSION.
        options: further arguments of the dataset's builder; JSON values.
        skip_broken: see `clip_builder.ClipBuilder`.
        num_workers: see `clip_builder.ClipBuilder`.

    Raises:
        BuildError: if the folder holds another build, or `raw_dir` is missing.
        RawDataError: if the raw data cannot be used.
    """
    start = time.monotonic()
    module = f"data_prep.{dataset}.{dataset}_dataset_builder"
    builder_class = importlib.import_module(module).Builder
    raw_dir = os.path.abspath(os.path.expanduser(raw_dir)) if raw_dir else None
    path = pathlib.Path(data_dir, dataset, str(builder_class.VERSION))
    if path.exists():
        return _earlier_build(path, raw_dir, options)

    _check_raw_dir(dataset, raw_dir, builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS)
    builder = builder_class(
        data_dir=data_dir,
        skip_broken=skip_broken,
        num_workers=num_workers,
        **options,
    )
    builder.info.metadata.update(
        raw_dir=raw_dir,
        options=dict(options),
        num_frames=builder.num_frames,  # Filled in by the build, as the next.
        skipped=builder.broken,
    )
    with _exclusive_folder(path.parent):
        if path.exists():  # Another run has finished it in the meantime.
            return _earlier_build(path, raw_dir, options)
        _write_shards(builder, raw_dir, path.parent)
    return _describe(path, is_new=True, seconds=time.monotonic() - start)


def _check_raw_dir(
    dataset: str, raw_dir: str | None, instructions: str | None
) -> None:
    if instructions is None:
        if raw_dir:
            raise BuildError(f"{dataset} is generated: leave --raw_dir out")
    elif raw_dir is None:
        raise BuildError(f"{dataset} needs --raw_dir: {instructions}")
    elif not os.path.isdir(raw_dir):
        raise BuildError(
            f"--raw_dir={raw_dir} is no folder; {dataset} needs {instructions}"
        )


def _earlier_build(
    path: pathlib.Path, raw_dir: str | None, options: Mapping[str, object]
) -> Built:
    """Describes the build in `path`, if it is the one that is asked for."""
    try:
        metadata = json.loads((path / "metadata.json").read_text())
        there = {"raw_dir": metadata["raw_dir"], **metadata["options"]}
        built = _describe(path, is_new=False, seconds=0.0)
    except (OSError, ValueError, KeyError) as error:
        raise BuildError(
            f"{path} was not built by this program; choose another --data_dir,"
            f" or remove {path}"
        ) from error
    asked = {"raw_dir": raw_dir or there["raw_dir"], **options}
    for name, value in asked.items():
        if there.get(name) != value:
            raise BuildError(
                f"{path} was built with --{name}={there.get(name)}, not"
                f" {value}; choose another --data_dir, or remove {path}"
            )
    return built


@contextlib.contextmanager
def _exclusive_folder(folder: pathlib.Path) -> Iterator[None]:
    """Makes `folder`, keeps other runs out of it, and removes it if empty.

    Also removes the incomplete builds that killed runs left in it.
    """
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildError(
                f"another run is building {folder} now; wait until it is done"
            ) from None
        for stale in folder.glob("incomplete.*"):
            shutil.rmtree(stale)
        yield
    finally:
        os.close(descriptor)  # Ends the lock.
        with contextlib.suppress(OSError):  # Not empty: there is a build.
            for made in missing:
                made.rmdir()


def _write_shards(
    builder: clip_builder.ClipBuilder,
    raw_dir: str | None,
    scratch_dir: pathlib.Path,
) -> None:
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # tfds' own words.
            builder.download_and_prepare(
                # The download manager makes folders, needed or not.
                download_dir=scratch_dir / "incomplete.downloads",
                download_config=tfds.download.DownloadConfig(
                    manual_dir=raw_dir
                ),
            )
    except tf.errors.OpError as error:  # The disk is full, for example.
        raise BuildError(f"writing {scratch_dir}: {error.message}") from error
    finally:
        builder.close()
        shutil.rmtree(scratch_dir / "incomplete.downloads", ignore_errors=True)


def _describe(path: pathlib.Path, is_new: bool, seconds: float) -> Built:
    info = tfds.builder_from_directory(path).info
    return Built(
        path=path,
        is_new=is_new,
        seconds=seconds,
        num_clips={s: split.num_examples for s, split in info.splits.items()},
        num_frames=info.metadata["num_frames"],
        skipped=info.metadata["skipped"],
    )
