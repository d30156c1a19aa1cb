"""What a workdir holds; the only module that knows its file names.

config.json         The experiment.
origin.json         What it was begun with: the data, and whose weights.
lock                Locked by the process that trains.
checkpoints/        Weights, optimizer, state of the loss; named by step.
summaries/          TensorBoard events.
eval/DATASET/       Written by evaluate.py, which locks it.
export/             Written by export.py.
keypoints.npz       Named keypoints from landmarks; written by evaluate.py.

What else is there, copies that a sync client makes for example, is passed over
and stays.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil

import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm import files

_CONFIG, _ORIGIN, _LOCK, _PREFIX = "config.json", "origin.json", "lock", "step"
# What TensorFlow writes for a checkpoint, and on the way to it.
_CHECKPOINT_FILE = re.compile(
    rf"({_PREFIX}-[0-9]+)(\.index|\.data-[0-9]+-of-[0-9]+|_temp)"
    r"(\.tempstate[0-9]+)?"
)
_KEPT = 2  # Checkpoints.
_ROOT = "runs"


def summaries_dir(workdir: str) -> str:
    """Where TensorBoard events go."""
    return str(pathlib.Path(workdir) / "summaries")


def evaluation_dir(workdir: str, dataset: str) -> pathlib.Path:
    """Where evaluate.py writes what it finds on `dataset`."""
    return pathlib.Path(workdir) / "eval" / dataset


def export_dir(workdir: str) -> str:
    """Where export.py writes unless told otherwise."""
    return str(pathlib.Path(workdir) / "export")


def keypoint_map_path(workdir: str) -> pathlib.Path:
    """Where evaluate.py keeps the fitted `keypoint_maps.KeypointMap`."""
    return pathlib.Path(workdir) / "keypoints.npz"


def default_workdir(preset: str) -> str:
    """Where a run of `preset` is, where `newest_workdir` finds it."""
    return str(pathlib.Path(_ROOT) / preset.replace("/", "_"))


def newest_workdir(root: str = _ROOT) -> str:
    """The run under `root` with the newest checkpoint.

    Raises:
        errors.MissingError: if there is none.
    """
    times = {}
    for workdir in map(str, pathlib.Path(root).glob("*")):
        for path in _checkpoints(workdir):
            with contextlib.suppress(FileNotFoundError):  # Removed just now.
                saved = os.stat(f"{path}.index").st_mtime
                times[workdir] = max(saved, times.get(workdir, saved))
    if not times:
        raise errors.MissingError(
            f"no trained run under {root}; train one with python train.py, or"
            " name its folder with --workdir"
        )
    return max(times, key=times.get)


def check_writable(workdir: str) -> None:
    """Finds out whether a run can be trained in `workdir`.

    Raises:
        errors.UserError: if it cannot be written to.
    """
    for folder in (workdir, _checkpoint_dir(workdir), summaries_dir(workdir)):
        files.check_writable(folder, "choose another --workdir")


@contextlib.contextmanager
def evaluated(workdir: str, dataset: str) -> Iterator[None]:
    """Keeps other evaluations of a run on `dataset` out of the block.

    Raises:
        errors.UserError: if there is one, or the run cannot be written to.
    """
    remedy = f"copy {workdir} to where you may, and name that with --workdir"
    files.check_writable(workdir, remedy)
    with files.own_folder(
        evaluation_dir(workdir, dataset),
        f"another process evaluates {workdir} on {dataset}; wait until it is"
        " done, or stop it",
        remedy,
    ):
        yield


@contextlib.contextmanager
def claimed(
    workdir: str,
    config: configs.Config,
    data: Mapping[str, object] | None = None,
    init_from: str | None = None,
) -> Iterator[None]:
    """Makes `workdir` this process's and this config's own.

    A block that ends by an exception before the first checkpoint leaves what
    was there before it, and no run.

    A run goes on with its own settings. Only what is no part of what the
    weights are may change: how often is logged, pictured and saved; and there
    may be more steps, unless their number shapes the learning rate (cosine) or
    the landmarks' windows. It also goes on with its own data, and from the
    weights that it was begun with.

    Args:
        workdir: made if it does not exist.
        config: the experiment.
        data: what tells the data from other data; see `Shards.identity`. None:
            it is not known.
        init_from: workdir whose weights a new run starts from.

    Raises:
        errors.UserError: if another process trains in it, or it was made with
            other settings than that, other data or other first weights.
    """
    check_writable(workdir)
    folder = pathlib.Path(workdir)
    init_from = init_from and os.path.normpath(init_from)
    refusal = (
        f"another process is training in {workdir}; stop it, or choose another"
        " --workdir"
    )
    with _undone_without_checkpoint(folder, refusal):
        # Without a checkpoint there is no run yet that a config could spoil.
        if _checkpoints(workdir):
            old = _with_free_settings(load_config(workdir), config)
            if changed := configs.differences(old, config):
                raise errors.UserError(
                    f"{workdir} was made with other settings:"
                    f" {'; '.join(changed)}; choose another --workdir, or"
                    f" remove {workdir}"
                )
            _check_origin(folder, data, init_from)
        elif data is not None:
            origin = {"data": data, "init_from": init_from}
            files.write_json(folder / _ORIGIN, origin)
        with files.replacing(folder / _CONFIG) as partial:
            partial.write_text(configs.to_json(config))
        yield


@contextlib.contextmanager
def _undone_without_checkpoint(
    folder: pathlib.Path, refusal: str
) -> Iterator[None]:
    """Locks a workdir; see `claimed` and `files.locked`."""
    lock, notes = folder / _LOCK, (folder / _CONFIG, folder / _ORIGIN)
    made = files.missing_folders(folder)
    is_new = not lock.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with files.locked(lock, refusal):
            before = [p.read_bytes() if p.exists() else None for p in notes]
            try:
                yield
            except BaseException:
                if not _checkpoints(str(folder)):
                    for path, content in zip(notes, before):
                        if content is None:
                            path.unlink(missing_ok=True)
                        else:
                            with files.replacing(path) as partial:
                                partial.write_bytes(content)
                    if is_new:
                        lock.unlink()
                    files.remove_empty([_checkpoint_dir(str(folder))])
                raise
    finally:
        files.remove_empty(made)


def _check_origin(
    folder: pathlib.Path,
    data: Mapping[str, object] | None,
    init_from: str | None,
) -> None:
    """Compares what is known with what the run was begun with."""
    path = folder / _ORIGIN
    try:
        origin = json.loads(path.read_text())
        before, begun_from = dict(origin["data"]), origin["init_from"]
    except FileNotFoundError:
        return  # Of a run of an earlier version.
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise errors.UserError(
            f"{path} is damaged ({_reason(error)}); it says what {folder} was"
            " trained on: put its copy back, or remove it if you know that the"
            " data are the same"
        ) from error
    if data is not None and before != data:
        raise errors.UserError(
            f"{folder} was trained on other data of that name:"
            f" {_in_words(before)}, now {_in_words(data)}; name the former with"
            " --data_dir, or choose another --workdir"
        )
    if init_from not in (None, begun_from):
        raise errors.UserError(
            f"{folder} was begun from {begun_from or 'new weights'}, not from"
            f" --init_from={init_from}; choose another --workdir"
        )


def _in_words(data: Mapping[str, object]) -> str:
    return " ".join(f"{name} {value}" for name, value in data.items())


def _with_free_settings(
    old: configs.Config, new: configs.Config
) -> configs.Config:
    """`old` with those settings of `new` that a run may go on with."""
    free = ["log_every", "image_every", "save_every"]
    is_longer = new.train.num_steps > old.train.num_steps
    is_shaped = (
        new.train.schedule == "cosine"
        or new.train.window_share
        or new.loss.equivariance_weight
    )
    if is_longer and not is_shaped:
        free.append("num_steps")
    values = {name: getattr(new.train, name) for name in free}
    # A fact of the data, which runs of earlier versions do not know.
    frame_crop = new.data.frame_crop
    return dataclasses.replace(
        old,
        data=dataclasses.replace(old.data, frame_crop=frame_crop),
        train=dataclasses.replace(old.train, **values),
    )


def load_config(workdir: str) -> configs.Config:
    """Reads the config of a run.

    Raises:
        errors.MissingError: if the workdir has none.
        errors.UserError: if it is damaged, or of another version of tflm.
    """
    path = pathlib.Path(workdir) / _CONFIG
    try:
        return configs.from_json(path.read_text())
    except FileNotFoundError:
        raise errors.MissingError(
            f"{workdir} is not a run: it has no {_CONFIG}; train one with"
            f" python train.py --workdir={workdir}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise errors.UserError(
            f"{path} cannot be read: {_reason(error)}; if a later version of"
            " tflm wrote it, use that one, else put the config.json of a run"
            " with the same settings in its place, or train again with another"
            " --workdir"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON, {error}"
    if isinstance(error, UnicodeDecodeError):
        return "it is no text"
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return str(error)


def save(
    workdir: str,
    model: tf.keras.Model,
    optimizer: tf.keras.optimizers.Optimizer,
    loss: object,
) -> None:
    """Writes a checkpoint named by `optimizer.iterations`.

    Raises:
        errors.UserError: if it cannot be written.
    """
    folder = _checkpoint_dir(workdir)
    step = int(optimizer.iterations)
    path = folder / f"{_PREFIX}-{step}"
    try:
        _everything(model, optimizer, loss).write(str(path))
    except tf.errors.OpError as error:  # The disk is full, for example.
        _remove_all_but(_checkpoints(workdir), folder)
        # TensorFlow says where in its code, the file, and why.
        reason = error.message.rpartition("; ")[2].partition(" [Op:")[0]
        raise errors.UserError(
            f"cannot write {path}: {reason}; free space on its disk, then the"
            " same command goes on"
        ) from error
    _remove_all_but(_checkpoints(workdir)[-_KEPT:], folder)


def _remove_all_but(kept: list[pathlib.Path], folder: pathlib.Path) -> None:
    """Removes other checkpoints, also those that were cut off."""
    names = {path.name for path in kept}
    for path in folder.glob(f"{_PREFIX}-*"):
        file = _CHECKPOINT_FILE.fullmatch(path.name)
        if not file:  # Not ours.
            continue
        if path.is_dir():  # TensorFlow writes there before it renames.
            shutil.rmtree(path)
        elif file[1] not in names:
            path.unlink()


def restore_or_initialize(
    workdir: str,
    model: tf.keras.Model,
    optimizer: tf.keras.optimizers.Optimizer,
    loss: object,
) -> int:
    """Loads all training state from the newest checkpoint, if there is one.

    Returns:
        The step to go on from; 0 without a checkpoint.

    Raises:
        errors.UserError: if the checkpoint is damaged or does not fit.
    """
    paths = _checkpoints(workdir)
    if not paths:
        return 0
    optimizer.build(model.trainable_variables)
    status = _restored(_everything(model, optimizer, loss), paths[-1])
    try:
        status.assert_consumed()
    except AssertionError as error:
        raise errors.UserError(_misfit(paths[-1])) from error
    return int(optimizer.iterations)


def newest(workdir: str) -> str | None:
    """The path of the newest checkpoint, without file ending, if any."""
    paths = _checkpoints(workdir)
    return str(paths[-1]) if paths else None


def restore_model(workdir: str, model: tf.keras.Model) -> int:
    """Loads the newest weights into an already built `model`.

    Returns:
        The step they were saved at.

    Raises:
        errors.MissingError: if the workdir has no checkpoint. (TensorFlow's own
            `restore(None)` succeeds and leaves random weights.)
        errors.UserError: if the checkpoint is damaged, or a variable of `model`
            is not in it.
    """
    path = existing(workdir)
    while True:
        try:
            status = _restored(tf.train.Checkpoint(model=model), path)
            break
        except errors.UserError:
            # A run that goes on has removed it for a newer one.
            if (newer := existing(workdir)) == path:
                raise
            path = newer
    try:
        # The optimizer's variables are in the file and not wanted here.
        status.assert_existing_objects_matched().expect_partial()
    except AssertionError as error:
        raise errors.UserError(_misfit(path)) from error
    return _step(path)


def existing(workdir: str) -> pathlib.Path:
    """As `newest`.

    Raises:
        errors.MissingError: if there is none.
    """
    if not (path := newest(workdir)):
        raise errors.MissingError(
            f"no checkpoint in {workdir}; train one with python train.py"
            f" --workdir={workdir}"
        )
    return pathlib.Path(path)


def _everything(model, optimizer, loss) -> tf.train.Checkpoint:
    parts = {"model": model, "optimizer": optimizer}
    if isinstance(loss, tf.Module):
        parts["loss"] = loss
    return tf.train.Checkpoint(**parts)


def _restored(checkpoint: tf.train.Checkpoint, path: pathlib.Path):
    try:
        return checkpoint.read(str(path))
    except ValueError as error:  # A tensor of another shape.
        raise errors.UserError(_misfit(path)) from error
    except (tf.errors.OpError, IndexError) as error:
        raise errors.UserError(
            f"checkpoint {path} is damaged; remove {path}.* to go back to the"
            " one before it"
        ) from error


def _misfit(path: pathlib.Path) -> str:
    return (
        f"checkpoint {path} does not fit the model of its config.json; take"
        " both from the same run"
    )


def _checkpoint_dir(workdir: str) -> pathlib.Path:
    return pathlib.Path(workdir) / "checkpoints"


def _checkpoints(workdir: str) -> list[pathlib.Path]:
    """Complete checkpoints, oldest first, without the file ending."""
    # TensorFlow writes the index last, so a save that was cut off has none.
    folder = _checkpoint_dir(workdir)
    found = [
        _CHECKPOINT_FILE.fullmatch(path.name)
        for path in folder.glob(f"{_PREFIX}-*.index")
    ]
    return sorted((folder / file[1] for file in found if file), key=_step)


def _step(path: pathlib.Path) -> int:
    return int(path.name.removeprefix(f"{_PREFIX}-"))
