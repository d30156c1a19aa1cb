"""What a workdir holds; the only module that knows its file names.

config.json         The experiment.
origin.json         What it was begun with: the data, and whose weights.
lock                Held by the process that trains.
checkpoints/        Weights, optimizer, state of the loss; named by step.
summaries/          TensorBoard events.
eval/DATASET/       Written by evaluate.py.
export/             Written by export.py.
keypoints.npz       Named keypoints from landmarks; written by evaluate.py.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil

import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm import files

_CONFIG, _ORIGIN, _LOCK, _PREFIX = "config.json", "origin.json", "lock", "step"
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
        FileNotFoundError: if there is none.
    """
    indices = list(pathlib.Path(root).glob(f"*/checkpoints/{_PREFIX}-*.index"))
    if not indices:
        raise FileNotFoundError(
            f"no trained run under {root}; train one with python train.py, or"
            " name its folder with --workdir"
        )
    newest = max(indices, key=lambda path: path.stat().st_mtime)
    return str(newest.parents[1])


@contextlib.contextmanager
def claimed(
    workdir: str,
    config: configs.Config,
    data: Mapping[str, object] | None = None,
    init_from: str | None = None,
) -> Iterator[None]:
    """Makes `workdir` this process's and this config's own.

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
    folder = pathlib.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    init_from = init_from and os.path.normpath(init_from)
    with open(folder / _LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.UserError(
                f"another process is training in {workdir}; stop it, or choose"
                " another --workdir"
            ) from None
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


def _check_origin(
    folder: pathlib.Path,
    data: Mapping[str, object] | None,
    init_from: str | None,
) -> None:
    """Compares what is known with what the run was begun with."""
    try:
        origin = json.loads((folder / _ORIGIN).read_text())
        before, begun_from = origin["data"], origin["init_from"]
    except (OSError, KeyError, TypeError, ValueError):
        return  # Of a run of an earlier version.
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
    is_shaped = new.train.schedule == "cosine" or new.train.window_share
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
        FileNotFoundError: if the workdir has none.
        errors.UserError: if it is damaged, or of another version of tflm.
    """
    path = pathlib.Path(workdir) / _CONFIG
    try:
        return configs.from_json(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{workdir} is not a run: it has no {_CONFIG}; train one with"
            f" python train.py --workdir={workdir}"
        ) from None
    except ValueError as error:
        raise errors.UserError(f"{path} cannot be read: {error}") from error


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
        raise errors.UserError(f"cannot write {path}: {error.message}") from (
            error
        )
    _remove_all_but(_checkpoints(workdir)[-_KEPT:], folder)


def _remove_all_but(kept: list[pathlib.Path], folder: pathlib.Path) -> None:
    """Removes other checkpoints, also those that were cut off."""
    names = {path.name for path in kept}
    for path in folder.glob(f"{_PREFIX}-*"):
        if path.is_dir():  # TensorFlow writes there before it renames.
            shutil.rmtree(path)
        elif path.stem not in names:
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
        FileNotFoundError: if the workdir has no checkpoint. (TensorFlow's own
            `restore(None)` succeeds and leaves random weights.)
        errors.UserError: if the checkpoint is damaged, or a variable of `model`
            is not in it.
    """
    paths = _checkpoints(workdir)
    if not paths:
        raise FileNotFoundError(
            f"no checkpoint in {workdir}; train one with python train.py"
            f" --workdir={workdir}"
        )
    status = _restored(tf.train.Checkpoint(model=model), paths[-1])
    try:
        # The optimizer's variables are in the file and not wanted here.
        status.assert_existing_objects_matched().expect_partial()
    except AssertionError as error:
        raise errors.UserError(_misfit(paths[-1])) from error
    return _step(paths[-1])


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
    indices = _checkpoint_dir(workdir).glob(f"{_PREFIX}-*.index")
    paths = [index.with_suffix("") for index in indices]
    return sorted(paths, key=_step)


def _step(path: pathlib.Path) -> int:
    return int(path.name.removeprefix(f"{_PREFIX}-"))
