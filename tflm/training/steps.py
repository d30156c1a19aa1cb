"""One update of the model; no logging, no files."""

from collections.abc import Callable

import tensorflow as tf

from tflm import configs
from tflm import losses
from tflm.losses import adversarial
from tflm.losses import equivariance
from tflm.losses import separation
from tflm.training import optimizers

Batch = dict[str, tf.Tensor]
Metrics = dict[str, tf.Tensor]


def make_train_step(
    model: tf.keras.Model,
    optimizer: tf.keras.optimizers.Optimizer,
    loss: losses.Loss,
    config: configs.Config,
) -> Callable[[Batch], Metrics]:
    """Compiles one update of `model`, and of the loss if that is trained too.

    Args:
        model: of source and target.
        optimizer: made by `optimizers.adam`.
        loss: of a batch and a reconstruction.
        config: what is done to gradients, and what is asked of landmarks.

    Returns:
        A function from a batch (see `data.pairs`) to float32 scalars: `loss`
        of the reconstruction and its parts; `landmarks/equivariance` and
        `landmarks/separation`, before their weights, if they have some; and
        `gradient_norm` (L2, over all weights of `model`, before clipping).
    """

    @tf.function
    def train_step(batch: Batch) -> Metrics:
        with tf.GradientTape() as tape:
            outputs = model(
                (batch["source"], batch["seen"]),
                training=True,
                windows=windows(optimizer.iterations, config.train),
                view=batch.get("view"),
            )
            reconstruction = outputs["reconstruction"]
            metrics = loss(batch, reconstruction)
            terms = _of_landmarks(outputs, batch, optimizer.iterations, config)
            total = tf.add_n(
                [metrics["loss"], *(weight * x for weight, x in terms.values())]
            )
        weights = model.trainable_variables
        gradients, norm = optimizers.prepared(
            tape.gradient(total, weights), weights, config.train
        )
        optimizer.apply_gradients(zip(gradients, weights))
        if optimizer.plateau is not None:
            optimizer.plateau.observe(metrics)
        if isinstance(loss, adversarial.AdversarialLoss):
            metrics |= loss.train_discriminator(batch, reconstruction)
        metrics |= {name: value for name, (_, value) in terms.items()}
        return {**metrics, "gradient_norm": norm}

    return train_step


def _of_landmarks(
    outputs: dict[str, tf.Tensor],
    batch: Batch,
    step: tf.Tensor,
    config: configs.Config,
) -> dict[str, tuple[tf.Tensor | float, tf.Tensor]]:
    """Terms of the loss that are about landmarks: weight and value by name."""
    terms = {}
    if config.loss.equivariance_weight:
        terms["landmarks/equivariance"] = (
            equivariance_weight(step, config),
            equivariance.equivariance(
                outputs["landmarks"],
                outputs["view_landmarks"],
                batch["view_warp"],
            ),
        )
    if config.loss.separation_weight:
        terms["landmarks/separation"] = (
            config.loss.separation_weight,
            separation.separation(
                outputs["landmarks"], config.loss.separation_sigma
            ),
        )
    return terms


def equivariance_weight(step: tf.Tensor, config: configs.Config) -> tf.Tensor:
    """The weight of the equivariance loss at a step; see `LossConfig`."""
    loss = config.loss
    passed = tf.cast(step, tf.float32) / config.train.num_steps
    rise = max(loss.equivariance_full - loss.equivariance_start, 1e-6)
    risen = (passed - loss.equivariance_start) / rise
    return loss.equivariance_weight * tf.clip_by_value(risen, 0.0, 1.0)


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
