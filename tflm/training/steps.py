"""One update of the model; no logging, no files."""

from collections.abc import Callable

import tensorflow as tf

from tflm import configs
from tflm import losses
from tflm.training import optimizers

Batch = dict[str, tf.Tensor]


def make_train_step(
    model: tf.keras.Model,
    optimizer: tf.keras.optimizers.Optimizer,
    loss_function: losses.Loss,
    config: configs.TrainConfig,
) -> Callable[[Batch], dict[str, tf.Tensor]]:
    """Compiles one update of `model`.

    Returns:
        A function from a batch (see `data.pairs`) to float32 scalars: `loss`,
        and `gradient_norm` (L2, over all weights, before clipping).
    """

    @tf.function
    def train_step(batch: Batch) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = model((batch["source"], batch["target"]), training=True)
            loss = loss_function(
                batch["target"], outputs["reconstruction"], batch["mask"]
            )
        weights = model.trainable_variables
        gradients, norm = optimizers.prepared(
            tape.gradient(loss, weights), weights, config
        )
        optimizer.apply_gradients(zip(gradients, weights))
        return {"loss": loss, "gradient_norm": norm}

    return train_step
