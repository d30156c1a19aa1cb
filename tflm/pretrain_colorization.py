"""Trains a loss network with no label and no download: by colourising.

    python -m tflm.pretrain_colorization --dataset=puppets

Stop it at any time: the same command continues from the last checkpoint. What
it writes, DATA_DIR/loss_networks/DATASET/colorization.h5, is the network that
train.py then takes for the perceptual loss on that dataset.
"""

import pathlib

from absl import flags

from tflm import command_line  # Before TensorFlow: it quiets its start.
from tflm import configs
from tflm import errors
from tflm.colorization import training
from tflm.data import shards as shards_lib
from tflm.losses import loss_networks

_DATASET = flags.DEFINE_string(
    "dataset", "puppets", "Dataset; its preset says which part of an image."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "data", "Where data_prep wrote the shards."
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Where the network, its checkpoints and a picture go;"
    " DATA_DIR/loss_networks/DATASET if not given.",
)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 64, "Side of a view, pixels.")
_NUM_FILTERS = flags.DEFINE_integer(
    "num_filters", 16, "Channels of the first block; VGG-16 has 64."
)
_NUM_STEPS = flags.DEFINE_integer("num_steps", 2_000, "Of 32 images each.")
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 3e-3, "Of Adam, at the start; half a cosine to 0."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of weights and order.")


def main() -> int:
    """Runs the command; returns its exit status."""
    dataset, data_dir = _DATASET.value, _DATA_DIR.value
    presets = configs.PRESETS
    datasets = [name for name in presets if presets[name].data.dataset == name]
    if dataset not in datasets:
        raise errors.UserError(
            f"no dataset {dataset!r}; one of {', '.join(datasets)}"
        )
    try:
        config = training.settings(
            presets[dataset].data,
            image_size=_IMAGE_SIZE.value,
            num_filters=_NUM_FILTERS.value,
            num_steps=_NUM_STEPS.value,
            learning_rate=_LEARNING_RATE.value,
            seed=_SEED.value,
        )
    except ValueError as error:
        raise errors.UserError(f"--{error}") from error
    shards = shards_lib.open_shards(data_dir, dataset)
    default = loss_networks.colorization_path(data_dir, dataset).parent
    folder = pathlib.Path(_WORKDIR.value or default)
    step, scores = training.train(config, shards, folder)
    if scores is None:
        print(f"stopped at step {step}; the same command continues from there")
        return 1
    print(scores.line())
    weights = folder / training.WEIGHTS
    print(f"wrote {weights} and {training.PICTURE}")
    if folder != default:
        print(
            "train.py takes it with --set loss.network=colorization"
            f" --loss_weights={weights}"
        )
    return 0


if __name__ == "__main__":
    command_line.run(main)
