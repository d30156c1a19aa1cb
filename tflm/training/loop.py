"""The training loop: all of training that reads, writes, counts and waits."""

from collections.abc import Iterator
import contextlib
import logging
import signal
import time

import numpy as np
import tensorflow as tf
import tqdm
import tqdm.contrib.logging

from tflm import configs
from tflm import errors
from tflm import losses
from tflm.data import pairs
from tflm.data import shards as shards_lib
from tflm.models import landmark_model
from tflm.training import checkpoints
from tflm.training import health
from tflm.training import optimizers
from tflm.training import pictures
from tflm.training import precision
from tflm.training import steps

_PICTURED_PAIRS = 8
_log = logging.getLogger(__name__)


def train(
    config: configs.Config,
    shards: shards_lib.Shards,
    workdir: str,
    init_from: str | None = None,
) -> int:
    """Trains until `train.num_steps`, from the newest checkpoint on.

    SIGINT and SIGTERM end it after the step at hand, with a checkpoint.

    Args:
        config: the experiment; `workdir` belongs to it from here on.
        shards: clips of `config.data.dataset`.
        workdir: one run's folder; made if it does not exist.
        init_from: workdir whose weights a new run starts from.

    Returns:
        The step reached, less than `train.num_steps` if it was stopped.

    Raises:
        errors.UserError: if a workdir, the shards or the loss cannot be used
            as asked.
        FloatingPointError: if the loss or the gradients are not finite.
    """
    loss = losses.from_config(config.loss)
    shards.num_clips("train")
    with checkpoints.claimed(workdir, config):
        tf.keras.utils.set_random_seed(config.train.seed)
        computed_in = precision.resolve(config.train.precision)
        model = landmark_model.LandmarkModel(config.model, computed_in)
        optimizer = optimizers.adam(config.train)
        state = (model, optimizer, loss)
        step = checkpoints.restore_or_initialize(workdir, *state)
        if step:
            _log.info("resuming %s at step %d", workdir, step)
        elif init_from:
            from_step = _start_from(init_from, config, model)
            _log.info("starting from %s, step %d", init_from, from_step)
        _log.info(
            "%d clips of %s, %d landmarks, %d px, %s",
            shards.num_clips("train"),
            config.data.dataset,
            config.model.num_landmarks,
            config.model.image_size,
            computed_in,
        )
        return _run(config, shards, workdir, state, step)


def _start_from(
    init_from: str, config: configs.Config, model: tf.keras.Model
) -> int:
    old = checkpoints.load_config(init_from)
    old_model = configs.Config(model=old.model)
    if changed := configs.differences(
        old_model, configs.Config(model=config.model)
    ):
        raise errors.UserError(
            f"--init_from={init_from} has another model: {'; '.join(changed)}"
        )
    return checkpoints.restore_model(init_from, model)


def _run(
    config: configs.Config,
    shards: shards_lib.Shards,
    workdir: str,
    state: tuple,
    step: int,
) -> int:
    model, optimizer, loss = state
    train_step = steps.make_train_step(model, optimizer, loss, config.train)
    writer = tf.summary.create_file_writer(checkpoints.summaries_dir(workdir))
    batches = iter(pairs.train_batches(config, shards, first_step=step))
    probe = next(batches)
    last_step, saved = config.train.num_steps, step
    with _stop_signals() as stopped, _progress(step, last_step) as progress:
        since, step_since = time.monotonic(), step
        is_last = step >= last_step
        while not is_last:
            metrics = train_step(next(batches))
            step += 1
            is_last = step == last_step or bool(stopped)
            if step % config.train.log_every == 0 or is_last:
                _check_finite(metrics, step, saved, workdir)
                seconds = time.monotonic() - since
                speed = (step - step_since) * config.train.batch_size / seconds
                _log_scalars(writer, step, metrics, optimizer, speed)
                progress.update_to(step, float(metrics["loss"]), speed)
                since, step_since = time.monotonic(), step
            if step % config.train.image_every == 0 or is_last:
                _log_landmarks(writer, step, model, probe)
            if step % config.train.save_every == 0 or is_last:
                _check_finite(metrics, step, saved, workdir)
                checkpoints.save(workdir, *state)
                saved = step
    writer.close()
    return step


def _check_finite(
    metrics: dict[str, tf.Tensor], step: int, saved: int, workdir: str
) -> None:
    for name, value in metrics.items():
        if not bool(tf.math.is_finite(value)):
            raise FloatingPointError(
                f"{name} is {float(value)} at step {step}; the last good"
                f" checkpoint of {workdir} is of step {saved}. Try a lower"
                " train.learning_rate in another --workdir"
            )


def _log_scalars(writer, step, metrics, optimizer, speed) -> None:
    with writer.as_default(step):
        for name, value in metrics.items():
            tf.summary.scalar(name, value)
        tf.summary.scalar("learning_rate", optimizer.learning_rate)
        tf.summary.scalar("images_per_second", speed)


def _log_landmarks(writer, step, model, probe) -> None:
    """Health of the landmarks and pictures, on the same pairs every time."""
    outputs = model((probe["source"], probe["target"]), training=False)
    found = health.landmark_health(outputs["landmarks"].numpy())
    _log.info("step %d, %s", step, found.line())
    shown = [
        part[:_PICTURED_PAIRS].numpy()
        for part in (
            probe["source"],
            probe["target"],
            outputs["reconstruction"],
            outputs["landmarks"],
        )
    ]
    with writer.as_default(step):
        tf.summary.image(
            "source, target, reconstruction, landmarks",
            pictures.quadruplets(*shown)[None],
        )
        tf.summary.scalar("landmarks/median_spread", np.median(found.spread))
        tf.summary.scalar("landmarks/dead", len(found.dead))
        tf.summary.scalar("landmarks/duplicated", len(found.duplicated))
    writer.flush()


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying of them."""
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda got, _: received.append(got))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Progress(tqdm.tqdm):
    """A bar of steps with the loss and images/s; plain lines without a tty."""

    def update_to(self, step: int, loss: float, speed: float) -> None:
        text = f"loss {loss:.5f}, {speed:.0f} images/s"
        self.set_postfix_str(text, refresh=False)
        self.update(step - self.n)
        if self.disable:
            _log.info("step %d / %d, %s", step, self.total, text)


@contextlib.contextmanager
def _progress(step: int, last_step: int) -> Iterator[_Progress]:
    bar_format = (
        "step {n_fmt}/{total_fmt} {bar:24} {postfix}, {elapsed} passed,"
        " {remaining} left"
    )
    with (
        _Progress(
            initial=step,
            total=last_step,
            bar_format=bar_format,
            disable=None,
            dynamic_ncols=True,
        ) as progress,
        tqdm.contrib.logging.logging_redirect_tqdm([logging.getLogger("tflm")]),
    ):
        yield progress
