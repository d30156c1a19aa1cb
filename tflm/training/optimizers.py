"""Learning-rate schedules, Adam, and what is done to gradients before it."""

from collections.abc import Sequence
import math

import tensorflow as tf

from tflm import configs


@tf.keras.utils.register_keras_serializable(package="tflm")
class Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a step.

    "constant"; "staircase": times `decay_factor` every `decay_steps` (released
    code: 0.95, 100k); "cosine": half a cosine to 0 at `num_steps`. Each rises
    linearly from 0 over the first `warmup_steps`.
    """

    def __init__(self, config: configs.TrainConfig):
        self._config = config

    def __call__(self, step):
        config, step = self._config, tf.cast(step, tf.float32)
        if config.schedule == "staircase":
            stair = tf.floor(step / config.decay_steps)
            factor = tf.pow(config.decay_factor, stair)
        elif config.schedule == "cosine":
            done = tf.minimum(step / config.num_steps, 1.0)
            factor = (1.0 + tf.cos(math.pi * done)) / 2.0
        else:
            factor = 1.0
        if config.warmup_steps:
            factor *= tf.minimum((step + 1.0) / config.warmup_steps, 1.0)
        return config.learning_rate * factor

    def get_config(self):
        return {"config": self._config}


def adam(config: configs.TrainConfig) -> tf.keras.optimizers.Optimizer:
    """The optimizer of a config."""
    return tf.keras.optimizers.Adam(Schedule(config), jit_compile=False)


def prepared(
    gradients: Sequence[tf.Tensor],
    variables: Sequence[tf.Variable],
    config: configs.TrainConfig,
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Adds weight decay, then bounds the norms.

    Args:
        gradients: of the loss, one per variable.
        variables: the weights; those of rank 4 are convolution kernels.
        config: `weight_decay` w adds w * kernel (the gradient of L2
            regularisation w / 2 * |kernel|^2); `clip` bounds the L2 norm of
            all gradients together (paper) or of each (released code).

    Returns:
        The gradients for Adam, and the L2 norm of all of them before clipping.
    """
    decayed = [
        gradient + config.weight_decay * variable
        if config.weight_decay and len(variable.shape) == 4
        else gradient
        for gradient, variable in zip(gradients, variables)
    ]
    norm = tf.linalg.global_norm(decayed)
    if config.clip == "global":
        decayed, _ = tf.clip_by_global_norm(decayed, config.clip_norm, norm)
    elif config.clip == "per_variable":
        decayed = [tf.clip_by_norm(g, config.clip_norm) for g in decayed]
    return decayed, norm
