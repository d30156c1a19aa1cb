"""Learning-rate schedules, Adam, and what is done to gradients before it."""

from collections.abc import Mapping
from collections.abc import Sequence
import math

import tensorflow as tf

from tflm import configs

_IMPROVEMENT = 1e-3  # Of the logarithm: a thousandth of the training loss.
_SMOOTHED_FRACTION = 0.1  # Of `patience_steps`: what a running mean spans.
_SMALLEST_ERROR = 1e-12  # Keeps the logarithm of a batch that is all masked.


class Plateau(tf.Module):
    """A factor that falls whenever the training loss stops falling.

    It watches the mean logarithm of the raw reconstruction errors, the parts
    `loss/...` of a step's metrics: that counts relative progress, of each layer
    alike, where a perceptual loss itself is kept near 1. Of a loss without such
    parts it watches the logarithm. A running mean over about a tenth of
    `patience_steps` evens the batches out. After `patience_steps` in which
    that has not come a thousandth below the best so far, `factor` is multiplied
    by `decay_factor`, and the waiting starts again.

    All of it is variables: checkpoint this object.

    Source: "lowered by a factor of 10 once the training error stops
    decreasing", Jakab et al., NeurIPS 2018, sec. 4; the rest is ours.
    """

    def __init__(self, config: configs.TrainConfig):
        super().__init__(name="plateau")
        self._config = config
        window = _SMOOTHED_FRACTION * config.patience_steps
        self._keep = 1.0 - 1.0 / max(window, 1.0)
        self.factor = tf.Variable(1.0, trainable=False)
        self.error_sum = tf.Variable(0.0, trainable=False)
        self.weight_sum = tf.Variable(0.0, trainable=False)
        self.best = tf.Variable(math.inf, trainable=False)
        self.waited = tf.Variable(0, trainable=False)  # Steps.

    def observe(self, metrics: Mapping[str, tf.Tensor]) -> None:
        """Takes one step's metrics into account."""
        parts = [metrics[name] for name in metrics if name.startswith("loss/")]
        errors = tf.stack(parts or [metrics["loss"]])
        error = tf.reduce_mean(tf.math.log(errors + _SMALLEST_ERROR))
        keep = self._keep
        total = self.error_sum.assign(
            keep * self.error_sum + (1.0 - keep) * error
        )
        weight = self.weight_sum.assign(keep * self.weight_sum + 1.0 - keep)
        smoothed = total / weight
        is_better = smoothed < self.best - _IMPROVEMENT
        waited = tf.where(is_better, 0, self.waited + 1)
        is_flat = waited >= self._config.patience_steps
        self.best.assign(tf.where(is_better, smoothed, self.best))
        self.waited.assign(tf.where(is_flat, 0, waited))
        decay = tf.where(is_flat, self._config.decay_factor, 1.0)
        self.factor.assign(self.factor * decay)


class Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a step.

    "constant"; "staircase": times `decay_factor` every `decay_steps` (released
    code: 0.95, 100k); "cosine": half a cosine to 0 at `num_steps`; "plateau":
    times `decay_factor` whenever the training loss stops falling (paper: 0.1).
    Each rises linearly from 0 over the first `warmup_steps`.

    Args:
        config: the settings above.
        plateau: of the "plateau" schedule; its factor is read at every call.
    """

    def __init__(
        self, config: configs.TrainConfig, plateau: Plateau | None = None
    ):
        self._config = config
        self._plateau = plateau

    def __call__(self, step):
        config, step = self._config, tf.cast(step, tf.float32)
        if config.schedule == "staircase":
            stair = tf.floor(step / config.decay_steps)
            factor = tf.pow(config.decay_factor, stair)
        elif config.schedule == "cosine":
            done = tf.minimum(step / config.num_steps, 1.0)
            factor = (1.0 + tf.cos(math.pi * done)) / 2.0
        elif config.schedule == "plateau":
            factor = self._plateau.factor
        else:
            factor = 1.0
        if config.warmup_steps:
            risen = tf.minimum((step + 1.0) / config.warmup_steps, 1.0)
            factor = factor * risen
        return config.learning_rate * factor

    def get_config(self):
        return {"config": self._config, "plateau": self._plateau}


def adam(config: configs.TrainConfig) -> tf.keras.optimizers.Optimizer:
    """The optimizer of a config.

    With `weight_decay_kind="decoupled"` it also subtracts learning rate times
    `weight_decay` times kernel from every kernel (AdamW: Loshchilov and Hutter,
    ICLR 2019). That is no part of the gradients, so neither of their moments,
    norm nor clipping. Biases and normalisation do not decay.

    Returns:
        Adam. Its attribute `plateau` is the schedule's `Plateau`, to be given
        the metrics of every step, or None; it is saved with the optimizer.
    """
    plateau = Plateau(config) if config.schedule == "plateau" else None
    is_decoupled = config.weight_decay_kind == "decoupled"
    optimizer = tf.keras.optimizers.Adam(
        Schedule(config, plateau),
        weight_decay=config.weight_decay if is_decoupled else None,
        jit_compile=False,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.plateau = plateau
    return optimizer


def prepared(
    gradients: Sequence[tf.Tensor],
    variables: Sequence[tf.Variable],
    config: configs.TrainConfig,
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Adds L2 weight decay, then bounds the norms.

    Args:
        gradients: of the loss, one per variable.
        variables: the weights; those of rank 2 and more are kernels.
        config: `weight_decay` w of the kind "l2" adds w * kernel (the gradient
            of w / 2 * |kernel|^2), "decoupled" is none of this function's: see
            `adam`; `clip` bounds the L2 norm of all gradients together (paper)
            or of each (released code).

    Returns:
        The gradients for Adam, and the L2 norm of all of them before clipping.
    """
    if config.weight_decay and config.weight_decay_kind == "l2":
        gradients = [
            gradient + config.weight_decay * variable
            if len(variable.shape) > 1
            else gradient
            for gradient, variable in zip(gradients, variables)
        ]
    norm = tf.linalg.global_norm(gradients)
    if config.clip == "global":
        gradients, _ = tf.clip_by_global_norm(gradients, config.clip_norm, norm)
    elif config.clip == "per_variable":
        gradients = [tf.clip_by_norm(g, config.clip_norm) for g in gradients]
    return list(gradients), norm
