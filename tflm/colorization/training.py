"""Trains a network to colourise, and keeps what a loss network needs of it.

The folder of a loss network holds:

colorization.h5     The network's convolutions, see `outputs.write_weights`.
colorized.png       Images of the held-out split: grey, colourised, true.
training/           The run, see `training.checkpoints`.
"""

from collections.abc import Callable
import dataclasses
import logging
import pathlib
import time

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm import files
from tflm.colorization import colors
from tflm.colorization import network
from tflm.colorization import outputs
from tflm.colorization import results
from tflm.data import pairs
from tflm.data import shards as shards_lib
from tflm.losses import loss_networks
from tflm.training import checkpoints
from tflm.training import finite
from tflm.training import optimizers
from tflm.training import precision
from tflm.training import progress as progress_lib

WEIGHTS, PICTURE = "colorization.h5", "colorized.png"
_log = logging.getLogger(__name__)


def settings(
    data: configs.DataConfig,
    *,
    image_size: int = 64,
    num_filters: int = 16,
    num_steps: int = 2_000,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> configs.Config:
    """The experiment of a pre-training; what it does not say has no effect.

    Args:
        data: of the dataset's preset; single frames are taken of all clips.
        image_size: side of the square view, pixels.
        num_filters: channels of the first block, see `network.colorizer`.
        num_steps: updates, of 32 images each.
        learning_rate: of Adam, at the top of half a cosine.
        seed: of weights, order and mirroring.

    Raises:
        ValueError: naming the value that cannot be.
    """
    return configs.Config(
        data=dataclasses.replace(data, pairs="tps"),
        target_warp=configs.NO_WARP,
        source_warp=configs.NO_WARP,
        model=configs.ModelConfig(
            image_size=image_size, num_filters=num_filters
        ),
        train=configs.TrainConfig(
            batch_size=32,
            num_steps=num_steps,
            learning_rate=learning_rate,
            schedule="cosine",
            warmup_steps=100,
            weight_decay=0.0,
            clip="none",
            save_every=500,
            seed=seed,
        ),
    )


def train(
    config: configs.Config, shards: shards_lib.Shards, folder: pathlib.Path
) -> tuple[int, results.Scores | None]:
    """Trains until `train.num_steps`, from the newest checkpoint on.

    SIGINT and SIGTERM end it after the step at hand, with a checkpoint.

    Args:
        config: see `settings`; `folder` belongs to it from here on.
        shards: clips of `config.data.dataset`.
        folder: of the loss network; made if it does not exist.

    Returns:
        The step reached; and how well the network colourises, or None if it
        was stopped before the last step. In the former case the weights and
        the picture were written.

    Raises:
        errors.UserError: if the folder or the shards cannot be used as asked,
            or the images are all grey.
        FloatingPointError: if the loss or the gradients are not finite.
    """
    files.check_writable(folder, "choose another --workdir")
    data = shards.identity("train")
    with shards_lib.naming_damage(shards):
        _refuse_grey(config, shards)
    workdir = str(folder / "training")
    with (
        shards_lib.naming_damage(shards),
        checkpoints.claimed(workdir, config, data),
    ):
        tf.keras.utils.set_random_seed(config.train.seed)
        computed_in = precision.resolve(config.train.precision)
        model = network.colorizer(
            config.model.image_size, config.model.num_filters, computed_in
        )
        optimizer = optimizers.adam(config.train)
        step = checkpoints.restore_or_initialize(
            workdir, model, optimizer, None
        )
        if step:
            _log.info("resuming %s at step %d", workdir, step)
        _log.info(
            "%d clips of %s to colourise, %d filters, %d px, %s",
            shards.num_clips("train"),
            config.data.dataset,
            config.model.num_filters,
            config.model.image_size,
            computed_in,
        )
        if step < config.train.num_steps:
            step = _run(config, shards, workdir, model, optimizer, step)
        if step < config.train.num_steps:
            return step, None
        return step, _finish(config, shards, folder, model)


def make_train_step(
    model: tf.keras.Model,
    optimizer: tf.keras.optimizers.Optimizer,
    seed: int,
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Compiles one update of `model`; each image is mirrored or not.

    Returns:
        A function from images, float32 `[B, S, S, 3]` in [0, 1], to `loss`:
        cross-entropy of the chroma of a pixel plus `colors.HUE_WEIGHT` times
        its chroma times that of its hue, nats, mean over pixels; and
        `gradient_norm`, L2.
    """

    @tf.function
    def train_step(images: tf.Tensor) -> dict[str, tf.Tensor]:
        number = tf.cast(optimizer.iterations, tf.int32)
        draws = tf.random.stateless_uniform(
            [tf.shape(images)[0], 1, 1, 1], [seed, number]
        )
        images = tf.where(draws < 0.5, images[:, :, ::-1], images)
        targets = colors.histograms(images, network.WINDOW)
        with tf.GradientTape() as tape:
            logits = model(loss_networks.grey(images), training=True)
            hue, chroma = colors.cross_entropies(
                targets, [tf.nn.log_softmax(part) for part in logits]
            )
            loss = chroma + colors.HUE_WEIGHT * hue
        weights = model.trainable_variables
        gradients = tape.gradient(loss, weights)
        optimizer.apply_gradients(zip(gradients, weights))
        return {"loss": loss, "gradient_norm": tf.linalg.global_norm(gradients)}

    return train_step


def _run(config, shards, workdir, model, optimizer, step: int) -> int:
    train_step = make_train_step(model, optimizer, config.train.seed)
    batches = iter(pairs.train_batches(config, shards, first_step=step))
    last_step = config.train.num_steps
    unchecked: list[dict[str, tf.Tensor]] = []  # Reading at once would wait.
    with (
        progress_lib.stop_signals() as stopped,
        progress_lib.progress(step, last_step) as progress,
    ):
        since, step_since = time.monotonic(), step
        is_last = False
        while not is_last:
            unchecked.append(train_step(next(batches)["target"]))
            step += 1
            is_last = step == last_step or bool(stopped)
            is_saved = step % config.train.save_every == 0 or is_last
            if step % config.train.log_every == 0 or is_saved:
                finite.check(unchecked, step, workdir)
                seconds = time.monotonic() - since
                speed = (step - step_since) * config.train.batch_size / seconds
                progress.update_to(step, unchecked[-1], speed)
                unchecked.clear()
                since, step_since = time.monotonic(), step
            if is_saved:
                checkpoints.save(workdir, model, optimizer, None)
    return step


def _refuse_grey(config, shards) -> None:
    role = results.held_out_role(shards)
    if not np.ptp(results.images_of(config, shards, role), axis=-1).any():
        raise errors.UserError(
            f"the {role} images of {config.data.dataset} are grey: there is no"
            " colour to learn from; take another loss network or --set"
            " loss.name=l2"
        )


def _finish(config, shards, folder, model) -> results.Scores:
    role = results.held_out_role(shards)
    images = results.images_of(config, shards, role)
    train_images = results.images_of(config, shards, "train")
    scores = results.score(model, images, train_images, role)
    outputs.write_weights(folder / WEIGHTS, network.folded(model))
    shown = results.spread(images)
    outputs.write_picture(
        folder / PICTURE,
        shown.mean(-1),
        results.colorized(model, shown),
        shown,
    )
    return scores
