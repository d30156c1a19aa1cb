"""One update of the model; no logging, no files."""

from collections.abc import Callable

import tensorflow as tf

from tflm import configs
from tflm import losses
from tflm.losses import adversarial
from tflm.training import optimizers

Batch = dict[str, tf.Tensor]
Metrics = dict[str, tf.Tensor]


def make_train_step(
    model: tf.keras.Model,
    optimizer: tf.keras.optimizers.Optimizer,
    loss: losses.Loss,
    config: configs.TrainConfig,
) -> Callable[[Batch], Metrics]:
    """Compiles one update of `model`, and of the loss if that is trained too.

    Args:
        model: of source and target.
        optimizer: made by `optimizers.adam`.
        loss: of a batch and a reconstruction.
        config: what is done to gradients.

    Returns:
        A function from a batch (see `data.pairs`) to float32 scalars: `loss`
        and its parts, and `gradient_norm` (L2, over all weights of `model`,
        before clipping).
    """

    @tf.function
    def train_step(batch: Batch) -> Metrics:
        with tf.GradientTape() as tape:
            outputs = model(
                (batch["source"], batch["seen"]),
                training=True,
                windows=windows(optimizer.iterations, config),
            )
            reconstruction = outputs["reconstruction"]
            metrics = loss(batch, reconstruction)
        weights = model.trainable_variables
        gradients, norm = optimizers.prepared(
            tape.gradient(metrics["loss"], weights), weights, config
        )
        optimizer.apply_gradients(zip(gradients, weights))
        if optimizer.plateau is not None:
            optimizer.plateau.observe(metrics)
        if isinstance(loss, adversarial.AdversarialLoss):
            metrics |= loss.train_discriminator(batch, reconstruction)
        return {**metrics, "gradient_norm": norm}

    return train_step


def windows(step: tf.Tensor, config: configs.TrainConfig) -> float | tf.Tensor:
    """How narrow the landmarks' windows are: from 1 down to 0, linearly.

    Args:
        step: int scalar, updates made so far.
        config: the windows are gone after `window_share` of `num_steps`.

    Returns:
        See `bottlenecks.HeatmapBottleneck`; 0.0 without windows.
    """
    if not config.window_share:
        return 0.0
    passed = tf.cast(step, tf.float32) / config.num_steps
    return tf.maximum(0.0, 1.0 - passed / config.window_share)
