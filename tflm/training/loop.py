"""The training loop: all of training that reads, writes, counts and waits."""

import dataclasses
import logging
import time

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm import losses
from tflm.data import pairs
from tflm.data import shards as shards_lib
from tflm.models import landmark_model
from tflm.training import checkpoints
from tflm.training import finite
from tflm.training import health
from tflm.training import optimizers
from tflm.training import pictures
from tflm.training import precision
from tflm.training import progress as progress_lib
from tflm.training import steps

_PICTURED_PAIRS = 8
_log = logging.getLogger(__name__)


def train(
    config: configs.Config,
    shards: shards_lib.Shards,
    workdir: str,
    loss: losses.Loss,
    init_from: str | None = None,
) -> int:
    """Trains until `train.num_steps`, from the newest checkpoint on.

    SIGINT and SIGTERM end it after the step at hand, with a checkpoint.

    Args:
        config: the experiment; `workdir` belongs to it from here on.
        shards: clips of `config.data.dataset`.
        workdir: one run's folder; made if it does not exist.
        loss: what `config.loss` names, new.
        init_from: workdir whose weights a new run starts from; one that goes
            on was begun from it.

    Returns:
        The step reached, less than `train.num_steps` if it was stopped.

    Raises:
        errors.UserError: if a workdir or the shards cannot be used as asked.
        FloatingPointError: if a loss or the gradients are not finite at any
            step; nothing is saved from that step on.
    """
    data = shards.identity("train")
    if init_from and not checkpoints.newest(workdir):
        _check_start(init_from, config)
    with (
        shards_lib.naming_damage(shards),
        checkpoints.claimed(workdir, config, data, init_from),
    ):
        tf.keras.utils.set_random_seed(config.train.seed)
        computed_in = precision.resolve(config.train.precision)
        model = landmark_model.LandmarkModel(config.model, computed_in)
        optimizer = optimizers.adam(config.train)
        state = (model, optimizer, loss)
        step = checkpoints.restore_or_initialize(workdir, *state)
        if step:
            _log.info("resuming %s at step %d", workdir, step)
        elif init_from:
            from_step = checkpoints.restore_model(init_from, model)
            _log.info("starting from %s, step %d", init_from, from_step)
        _log.info(
            "%d clips of %s, %d landmarks, %d px, %s",
            shards.num_clips("train"),
            config.data.dataset,
            config.model.num_landmarks,
            config.model.image_size,
            computed_in,
        )
        if step >= config.train.num_steps:
            _log.info("there is nothing left to train")
            return step
        return _run(config, shards, workdir, state, step)


def _check_start(init_from: str, config: configs.Config) -> None:
    """Refuses weights of another model before the workdir is touched."""
    old = checkpoints.load_config(init_from)
    checkpoints.existing(init_from)
    # Settings that fit any weights.
    free = (
        "initializer",
        "marginal",
        "temperature",
        "gaussian",
        "heatmap_sigma",
    )
    chosen = {name: getattr(config.model, name) for name in free}
    old_model = configs.Config(model=dataclasses.replace(old.model, **chosen))
    if changed := configs.differences(
        old_model, configs.Config(model=config.model)
    ):
        raise errors.UserError(
            f"--init_from={init_from} has another model: {'; '.join(changed)}"
        )
    if config.train.window_share:
        raise errors.UserError(
            f"--init_from={init_from} has landmarks, and windows would take"
            " them from their places; add --set train.window_share=0"
        )


def _run(
    config: configs.Config,
    shards: shards_lib.Shards,
    workdir: str,
    state: tuple,
    step: int,
) -> int:
    model, optimizer, loss = state
    train_step = steps.make_train_step(model, optimizer, loss, config)
    writer = tf.summary.create_file_writer(checkpoints.summaries_dir(workdir))
    batches = iter(pairs.train_batches(config, shards, first_step=step))
    probe = next(batches)
    last_step = config.train.num_steps
    unchecked: list[steps.Metrics] = []  # Reading them at once would wait.
    with (
        progress_lib.stop_signals() as stopped,
        progress_lib.progress(step, last_step) as progress,
    ):
        since, step_since = time.monotonic(), step
        is_last = False
        while not is_last:
            unchecked.append(train_step(next(batches)))
            step += 1
            is_last = step == last_step or bool(stopped)
            is_logged = is_last or step % config.train.log_every == 0
            is_pictured = is_last or step % config.train.image_every == 0
            is_saved = is_last or step % config.train.save_every == 0
            if is_logged or is_pictured or is_saved:
                metrics = unchecked[-1]
                finite.check(unchecked, step, workdir)
                unchecked.clear()
            if is_logged:
                seconds = time.monotonic() - since
                speed = (step - step_since) * config.train.batch_size / seconds
                _log_scalars(writer, step, metrics, optimizer, speed)
                progress.update_to(step, metrics, speed)
                since, step_since = time.monotonic(), step
            if is_pictured:
                _log_landmarks(writer, step, model, probe, config.train)
            if is_saved:
                checkpoints.save(workdir, *state)
    writer.close()
    return step


def _log_scalars(writer, step, metrics, optimizer, speed) -> None:
    with writer.as_default(step):
        for name, value in metrics.items():
            tf.summary.scalar(name, value)
        tf.summary.scalar("learning_rate", optimizer.learning_rate)
        tf.summary.scalar("images_per_second", speed)


def _log_landmarks(writer, step, model, probe, config) -> None:
    """Health of the landmarks and pictures, on the same pairs every time."""
    outputs = model(
        (probe["source"], probe["target"]),
        training=False,
        windows=steps.windows(step, config),
    )
    shown = {
        "source": probe["source"],
        "target": probe["target"],
        "reconstruction": outputs["reconstruction"],
    }
    with writer.as_default(step):
        if model.config.bottleneck == "heatmap":
            shown["landmarks"] = outputs["landmarks"]
            found = health.landmark_health(outputs["landmarks"].numpy())
            _log.info("step %d, %s", step, found.line())
            spread = np.median(found.spread)
            tf.summary.scalar("landmarks/median_spread", spread)
            tf.summary.scalar("landmarks/dead", len(found.dead))
            tf.summary.scalar("landmarks/duplicated", len(found.duplicated))
        parts = [part[:_PICTURED_PAIRS].numpy() for part in shown.values()]
        rows = pictures.quadruplets(*parts)
        tf.summary.image(", ".join(shown), rows[None])
    writer.flush()
