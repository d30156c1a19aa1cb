"""Builds the shards of one dataset, once."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import importlib
import inspect
import io
import json
import logging
import os
import pathlib
import shutil
import time

from absl import logging as absl_logging
import tensorflow as tf
import tensorflow_datasets as tfds

from data_prep import clip_builder
from data_prep import workers
from tflm import files

_INSTALL_BEAM = "pip install apache-beam==2.77.0"


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
    counts: Sequence[str] = ()  # What was read and left out, a line each.


def build(
    dataset: str,
    raw_dir: str | None,
    data_dir: str,
    options: Mapping[str, object],
    *,
    skip_broken: bool = False,
    num_workers: int = 1,
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
) -> Built:
    """Builds `dataset` below `data_dir`, unless that is done already.

    The shards are written to a folder named incomplete.*, which no reader
    opens, and which is renamed when it is whole and deleted when it is not: at
    once after an exception, by the next run after a SIGKILL.

    Args:
        dataset: a folder of data_prep; or, if its builder has configs, that
            folder, a slash, and the name of one.
        raw_dir: the folder of the raw data, None if the dataset is generated
            or can be downloaded.
        data_dir: the shards go to DATA_DIR/DATASET/VERSION.
        options: further arguments of the dataset's builder; JSON values.
        skip_broken: see `clip_builder.ClipBuilder`.
        num_workers: see `clip_builder.ClipBuilder`.
        beam_runner: name of the Apache Beam runner that builds, if any.
        beam_options: see `beam_pipeline.settings`.

    Raises:
        BuildError: if the folder holds another build, `raw_dir` is missing, a
            worker is killed, or Beam refuses its options or is missing.
        RawDataError: if the raw data cannot be used.
    """
    start = time.monotonic()
    builder_class, config = _builder_class(dataset)
    raw_dir = os.path.abspath(os.path.expanduser(raw_dir)) if raw_dir else None
    # Beam's workers may run in other folders.
    data_dir = os.path.abspath(os.path.expanduser(data_dir))
    path = pathlib.Path(data_dir, dataset, str(builder_class.VERSION))
    if path.exists():
        return _earlier_build(path, raw_dir, builder_class, options)

    _check_raw_dir(dataset, raw_dir, skip_broken, builder_class)
    download_config = tfds.download.DownloadConfig(
        manual_dir=raw_dir,
        # A dataset of the same name there would have other features.
        try_download_gcs=False,
        **(_beam_settings(beam_runner, beam_options) if beam_runner else {}),
    )
    builder = builder_class(
        data_dir=data_dir,
        config=config,
        skip_broken=skip_broken,
        num_workers=num_workers,
        beam=beam_runner is not None,
        **options,
    )
    builder.info.metadata.update(
        raw_dir=raw_dir,
        options=_record(builder_class, options),
        num_frames=builder.num_frames,  # Filled in by the build, as the next.
        skipped=builder.broken,
        counts=builder.counts,
    )
    with _exclusive_folder(path.parent):
        if path.exists():  # Another run has finished it in the meantime.
            return _earlier_build(path, raw_dir, builder_class, options)
        _write_shards(builder, download_config, path.parent)
    return _describe(path, is_new=True, seconds=time.monotonic() - start)


def _builder_class(
    dataset: str,
) -> tuple[type[clip_builder.ClipBuilder], str | None]:
    """The builder of a dataset, and the name of its config, if any."""
    name, slash, config = dataset.partition("/")
    module = f"data_prep.{name}.{name}_dataset_builder"
    builder_class = importlib.import_module(module).Builder
    if slash and config not in builder_class.builder_configs:
        known = [name, *(f"{name}/{c}" for c in builder_class.builder_configs)]
        raise BuildError(f"no dataset {dataset!r}; one of {', '.join(known)}")
    return builder_class, config or None


def _record(
    builder_class: type[clip_builder.ClipBuilder],
    options: Mapping[str, object],
) -> dict[str, object]:
    """All arguments that only this builder has, as JSON gives them back."""
    arguments = inspect.signature(builder_class).parameters
    shared = inspect.signature(clip_builder.ClipBuilder).parameters
    defaults = {
        name: argument.default
        for name, argument in arguments.items()
        if name not in shared and argument.kind != argument.VAR_KEYWORD
    }
    return json.loads(json.dumps({**defaults, **options}))


def _check_raw_dir(
    dataset: str,
    raw_dir: str | None,
    skip_broken: bool,
    builder_class: type[clip_builder.ClipBuilder],
) -> None:
    instructions = builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS
    if instructions is None:
        for flag, value in (
            ("raw_dir", raw_dir),
            ("skip_broken", skip_broken),
        ):
            if value:
                raise BuildError(f"{dataset} is generated: leave --{flag} out")
    elif raw_dir is None:
        if not builder_class.RAW_DIR_IS_OPTIONAL:
            raise BuildError(f"{dataset} needs --raw_dir: {instructions}")
    elif not os.path.isdir(raw_dir):
        raise BuildError(
            f"--raw_dir={raw_dir} is no folder; {dataset} needs {instructions}"
        )
    elif not os.listdir(raw_dir):
        raise BuildError(
            f"--raw_dir={raw_dir} is empty; {dataset} needs {instructions}"
        )


def _beam_settings(runner: str, options: Sequence[str]) -> dict[str, object]:
    """The arguments of a DownloadConfig that are about Beam; imports Beam."""
    logging.disable(logging.WARNING)  # About clients of clouds, not needed.
    try:
        from data_prep import beam_pipeline
    except ModuleNotFoundError as error:
        if error.name != "apache_beam":
            raise
        raise BuildError(
            f"--beam_runner={runner} needs Apache Beam: {_INSTALL_BEAM}"
        ) from None
    finally:
        logging.disable(logging.NOTSET)
    try:
        beam_runner, beam_options = beam_pipeline.settings(runner, options)
    except ValueError as error:
        raise BuildError(str(error)) from error
    return {"beam_runner": beam_runner, "beam_options": beam_options}


def _earlier_build(
    path: pathlib.Path,
    raw_dir: str | None,
    builder_class: type[clip_builder.ClipBuilder],
    options: Mapping[str, object],
) -> Built:
    """Describes the build in `path`, if it is the one that is asked for."""
    try:
        metadata = json.loads((path / "metadata.json").read_text())
        there = _record(builder_class, metadata["options"])
        there["raw_dir"] = metadata["raw_dir"]
        built = _describe(path, is_new=False, seconds=0.0)
    except Exception as error:  # Whatever the parsers of tfds raise.
        raise BuildError(
            f"{path} was not built by this program, or is damaged; choose"
            f" another --data_dir, or remove {path}"
        ) from error
    asked = _record(builder_class, options)
    asked["raw_dir"] = raw_dir or there["raw_dir"]
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
    with files.own_folder(
        folder,
        f"another run is building {folder} now; wait until it is done",
        "choose another --data_dir",
    ):
        for stale in folder.glob("incomplete.*"):
            if stale.is_dir():
                shutil.rmtree(stale)
        yield


def _write_shards(
    builder: clip_builder.ClipBuilder,
    download_config: tfds.download.DownloadConfig,
    scratch_dir: pathlib.Path,
) -> None:
    absl_logging.set_verbosity(absl_logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # tfds' own words.
            builder.download_and_prepare(
                # The download manager makes folders, needed or not.
                download_dir=scratch_dir / "incomplete.downloads",
                download_config=download_config,
            )
    except workers.WorkerKilledError as error:
        raise BuildError(str(error)) from error
    except (tf.errors.OpError, OSError, RuntimeError) as error:
        # The disk is full, for example. tfds wraps what happens as it writes.
        cause = error.__cause__ or error
        if isinstance(error, OSError) and error.filename is not None:
            raise  # It names the file.
        if not isinstance(cause, (tf.errors.OpError, OSError)):
            raise
        why = getattr(cause, "message", None) or cause
        raise BuildError(
            f"writing {scratch_dir}: {why}; free space on its disk, or choose"
            " another --data_dir"
        ) from error
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
        counts=info.metadata.get("counts", ()),  # Old builds have none.
    )
