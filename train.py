"""Trains a landmark model.

    python train.py --dataset=bbc_pose

Stop it at any time: the same command continues from the last checkpoint.
"""

import dataclasses
import importlib
import logging
import os
import pathlib
import subprocess
import sys

from absl import flags

from tflm import command_line  # Before TensorFlow: it quiets its start.
from tflm import configs
from tflm import errors
from tflm import losses
from tflm.data import shards as shards_lib
from tflm.losses import loss_networks
from tflm.training import checkpoints
from tflm.training import loop
from tflm.training import precision

_ROOT = pathlib.Path(__file__).resolve().parent
_DATASET = flags.DEFINE_string(
    "dataset", None, "Dataset, and its preset; puppets if not given."
)
_PRESET = flags.DEFINE_string(
    "preset",
    None,
    "Settings to start from, instead of the dataset's own: one of"
    f" {configs.PRESET_NAMES}.",
)
_SET = flags.DEFINE_multi_string(
    "set", [], "Override of one setting, e.g. --set train.batch_size=16."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "data", "Where data_prep wrote the shards."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The run's folder; if not given runs/PRESET, with _ for /."
)
_INIT_FROM = flags.DEFINE_string(
    "init_from", None, "Workdir of a run whose weights this one starts from."
)
_LOSS_WEIGHTS = flags.DEFINE_string(
    "loss_weights",
    None,
    "HDF5 or .npz file with the weights of loss.network, which is colorization,"
    " imagenet or vgg16_file.",
)


def main() -> int:
    preset = _PRESET.value or _DATASET.value or "puppets"
    if preset not in configs.PRESETS:
        raise errors.UserError(
            f"no preset {preset!r}; one of {configs.PRESET_NAMES}"
        )
    of_preset = configs.PRESETS[preset].data.dataset
    if _DATASET.value not in (None, of_preset):
        raise errors.UserError(
            f"--preset={preset} is for {of_preset}, not for"
            f" --dataset={_DATASET.value}"
            if _PRESET.value
            else f"--dataset={preset} is a preset of {of_preset}; give it as"
            f" --preset={preset}"
        )
    workdir = _WORKDIR.value or checkpoints.default_workdir(preset)
    try:
        config = configs.override(configs.PRESETS[preset], _SET.value)
    except ValueError as error:
        raise errors.UserError(f"--set: {error}") from error
    if _DATASET.value not in (None, config.data.dataset):
        raise errors.UserError(
            f"--dataset={_DATASET.value} and --set"
            f" data.dataset={config.data.dataset} contradict each other; leave"
            " one out"
        )
    if _LOSS_WEIGHTS.value and config.loss.name != "perceptual":
        raise errors.UserError(
            f"--loss_weights={_LOSS_WEIGHTS.value}: loss.name="
            f"{config.loss.name} has no loss network; it is for perceptual"
        )
    checkpoints.check_writable(workdir)  # First: what follows takes minutes.
    if _INIT_FROM.value:
        checkpoints.load_config(_INIT_FROM.value)
        checkpoints.existing(_INIT_FROM.value)
    shards = _open_or_build(config.data.dataset, _DATA_DIR.value)
    data = dataclasses.replace(config.data, frame_crop=shards.crop)
    config = dataclasses.replace(config, data=data)
    config, loss = _with_loss(config, workdir)
    step = loop.train(config, shards, workdir, loss, _INIT_FROM.value)
    if step < config.train.num_steps:
        print(f"stopped at step {step}; the same command continues from there")
        return 1
    print(
        f"trained {workdir} to step {step}; next: python evaluate.py"
        f" --workdir={workdir} --data_dir={_DATA_DIR.value}"
    )
    return 0


def _with_loss(
    config: configs.Config, workdir: str
) -> tuple[configs.Config, losses.Loss]:
    """Makes the loss; the config then names its network and the weights."""
    if config.loss.name != "perceptual":
        return config, losses.from_config(config.loss, seed=config.train.seed)
    if config.loss.network == "auto" and checkpoints.newest(workdir):
        # A better one may have come meanwhile, but the run has its own.
        network = checkpoints.load_config(workdir).loss.network
        loss_config = dataclasses.replace(config.loss, network=network)
        config = dataclasses.replace(config, loss=loss_config)
    network = loss_networks.load(
        config.loss,
        config.data.dataset,
        _DATA_DIR.value,
        _LOSS_WEIGHTS.value,
        config.train.seed,
        precision.resolve(config.train.precision),
    )
    wanted = config.loss.network_hash
    if wanted not in ("", network.hash):
        raise errors.UserError(
            f"loss.network_hash={wanted}, but {network.origin} has the hash"
            f" {network.hash}"
        )
    loss_config = dataclasses.replace(
        config.loss, network=network.name, network_hash=network.hash
    )
    if checkpoints.newest(workdir):
        _check_weights(workdir, loss_config, network)
    logging.getLogger("tflm").info(
        "loss network: %s %s (%s)", network.name, network.hash, network.origin
    )
    config = dataclasses.replace(config, loss=loss_config)
    return config, losses.from_config(loss_config, network)


def _check_weights(
    workdir: str, now: configs.LossConfig, network: loss_networks.LossNetwork
) -> None:
    """Tells a file that was replaced from settings that were changed."""
    before = checkpoints.load_config(workdir).loss
    changed = dict(vars(now).items() - vars(before).items())
    # The hash of a random network follows from settings.
    if list(changed) == ["network_hash"] and now.network != "random":
        raise errors.UserError(
            f"{workdir} was trained with weights of {now.network} of hash"
            f" {before.network_hash}, but {network.origin} has the hash"
            f" {network.hash}; name the old file with --loss_weights, or choose"
            " another --workdir"
        )


def _open_or_build(dataset: str, data_dir: str) -> shards_lib.Shards:
    """Opens shards; those of puppets, which need no raw data, are built."""
    try:
        return shards_lib.open_shards(data_dir, dataset)
    except FileNotFoundError as error:
        name = dataset.partition("/")[0]  # A config may follow.
        module = f"data_prep.{name}.{name}_dataset_builder"
        script = _ROOT / "data_prep" / name / f"{name}_dataset_builder.py"
        if not script.exists():
            raise errors.UserError(f"data.dataset: {error}") from error
        builder = importlib.import_module(module).Builder
    command = [f"--dataset={dataset}", f"--data_dir={data_dir}"]
    if source := builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        words = " ".join(["python -m data_prep", *command])
        raw_data = f"--raw_dir=DIR; raw data: {source}"
        raise errors.UserError(
            f"no shards of {dataset} in {data_dir}; build them with: {words}"
            + (
                f" (a download), or with your own copy: {raw_data}"
                if builder.RAW_DIR_IS_OPTIONAL
                else f" {raw_data}"
            )
        )
    print(f"no shards of {dataset} in {data_dir} yet: building them")
    command = [sys.executable, "-m", "data_prep", *command]
    path = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}
    ) as build:
        try:
            build.wait()
        except KeyboardInterrupt:  # It got it too, and tidies up.
            build.wait()
            raise
    if build.returncode:
        raise errors.UserError(f"building {dataset} failed, see above")
    return shards_lib.open_shards(data_dir, dataset)


if __name__ == "__main__":
    command_line.run(main)
