"""How fast batches are made and used, and whether memory stays bounded.

    python -m tests.benchmarks.training_benchmark --preset=puppets

Run it on an idle machine. It prints images (pairs) per second of the input
pipeline alone, of the training step alone and of both together, and the
resident memory at two steps.
"""

import pathlib
import time

from absl import flags

from tflm import command_line  # Before TensorFlow: it quiets its start.
from tflm import configs
from tflm import losses
from tflm.data import pairs
from tflm.data import shards as shards_lib
from tflm.losses import loss_networks
from tflm.models import landmark_model
from tflm.training import optimizers
from tflm.training import precision
from tflm.training import steps

_PRESET = flags.DEFINE_enum(
    "preset", "puppets", sorted(configs.PRESETS), "Settings to start from."
)
_SET = flags.DEFINE_multi_string("set", [], "Overrides, as of train.py.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Where the shards are.")
_FIRST_STEP = flags.DEFINE_integer("first_step", 100, "Of the memory check.")
_LAST_STEP = flags.DEFINE_integer("last_step", 2_000, "Of the memory check.")
_SECONDS = flags.DEFINE_float("seconds", 20.0, "Of each measurement.")


def main() -> None:
    config = configs.override(configs.PRESETS[_PRESET.value], _SET.value)
    shards = shards_lib.open_shards(_DATA_DIR.value, config.data.dataset)
    computed_in = precision.resolve(config.train.precision)
    model = landmark_model.LandmarkModel(config.model, computed_in)
    step = steps.make_train_step(
        model,
        optimizers.adam(config.train),
        _loss(config, computed_in),
        config,
    )
    batches = iter(pairs.train_batches(config, shards))
    batch = next(batches)
    step(batch)
    start = time.monotonic()
    for number in range(1, _LAST_STEP.value + 1):
        float(step(next(batches))["loss"])
        if number in (_FIRST_STEP.value, _LAST_STEP.value):
            print(f"memory at step {number}: {_resident_mb():.0f} MB")
    seconds = time.monotonic() - start
    together = _LAST_STEP.value * config.train.batch_size / seconds

    pipeline = _rate(lambda: next(batches), config)
    alone = _rate(lambda: step(batch), config)
    print(f"{computed_in}, batches of {config.train.batch_size}")
    print(f"input pipeline alone: {pipeline:8.0f} images/s")
    print(f"training step alone:  {alone:8.0f} images/s")
    print(f"ratio:                {pipeline / alone:8.1f}")
    print(f"both together:        {together:8.0f} images/s")


def _loss(config: configs.Config, computed_in: str) -> losses.Loss:
    """The loss as train.py makes it."""
    if config.loss.name != "perceptual":
        return losses.from_config(config.loss)
    network = loss_networks.load(
        config.loss,
        config.data.dataset,
        _DATA_DIR.value,
        None,
        config.train.seed,
        computed_in,
    )
    return losses.from_config(config.loss, network)


def _rate(action, config: configs.Config) -> float:
    """Images per second of `action`, a batch at a time, after a warm-up."""
    for _ in range(5):
        action()
    start, count = time.monotonic(), 0
    while (seconds := time.monotonic() - start) < _SECONDS.value:
        action()
        count += 1
    return count * config.train.batch_size / seconds


def _resident_mb() -> float:
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    command_line.run(main)
