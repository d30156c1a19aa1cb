"""The adversarial loss of the paper's ablation, with its discriminator."""

from collections.abc import Callable
from collections.abc import Mapping

import tensorflow as tf

from tflm.models import discriminator

_Batch = Mapping[str, tf.Tensor]


class AdversarialLoss(tf.Module):
    """A loss on pixels, and a second network that the generator must fool.

    Discriminator and its optimizer are training state: checkpoint this object.
    All their variables exist from the start. Calling the loss does not train
    the discriminator; `train_discriminator` does, once a step.

    Args:
        pixel_loss: of a batch and a reconstruction; gives `loss`.
        weight: of the adversarial term, the pixel loss having 1. (Isola et al.
            give the pixel loss 100 and the adversarial term 1.)
        seed: of the discriminator's first weights.

    Raises:
        ValueError: if `weight` is not positive.

    Source: Isola et al., CVPR 2017: conditional, non-saturating, the
    discriminator's loss halved, Adam with 2e-4 and a beta_1 of 0.5, moments of
    the batch in every normalisation. Which of their choices Jakab et al. took
    over is not stated. Ours: where the warp left the image the discriminator
    sees black in targets and reconstructions alike, and there is no dropout.
    """

    def __init__(
        self,
        pixel_loss: Callable[[_Batch, tf.Tensor], dict[str, tf.Tensor]],
        weight: float,
        seed: int = 0,
    ):
        super().__init__(name="adversarial_loss")
        if weight <= 0:
            raise ValueError(f"weight must be positive, got {weight}")
        self._pixel_loss = pixel_loss
        self._weight = weight
        self.discriminator = discriminator.discriminator(
            name="discriminator", seed=seed
        )
        self.optimizer = tf.keras.optimizers.Adam(
            2e-4, beta_1=0.5, jit_compile=False
        )
        self.optimizer.build(self.discriminator.trainable_variables)

    def __call__(
        self, batch: _Batch, reconstruction: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """What the generator minimises.

        Args:
            batch: `source` and `target`, float32 `[B, S, S, 3]` in [0, 1], and
                `mask`, float32 `[B, S, S, 1]`, 1 = counts, 0 = ignored.
            reconstruction: as `target`, unbounded.

        Returns:
            float32 scalars: `loss`; its parts `loss/pixel` and
            `adversarial/generator`, the latter the cross-entropy of
            reconstructions being taken for targets, before `weight`.
        """
        pixel = self._pixel_loss(batch, reconstruction)["loss"]
        fooling = _cross_entropy(self._logits(batch, reconstruction), 1.0)
        return {
            "loss": pixel + self._weight * fooling,
            "loss/pixel": pixel,
            "adversarial/generator": fooling,
        }

    def train_discriminator(
        self, batch: _Batch, reconstruction: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Updates the discriminator once.

        Args:
            batch: see `__call__`, as `reconstruction`.
            reconstruction: gets no gradient.

        Returns:
            float32 scalars: `adversarial/discriminator`, its cross-entropy,
            log 2 if it cannot tell, and `adversarial/gradient_norm`, L2.
        """
        with tf.GradientTape() as tape:
            targets = _cross_entropy(self._logits(batch, batch["target"]), 1.0)
            fakes = _cross_entropy(
                self._logits(batch, tf.stop_gradient(reconstruction)), 0.0
            )
            loss = (targets + fakes) / 2.0
        weights = self.discriminator.trainable_variables
        gradients = tape.gradient(loss, weights)
        self.optimizer.apply_gradients(zip(gradients, weights))
        return {
            "adversarial/discriminator": loss,
            "adversarial/gradient_norm": tf.linalg.global_norm(gradients),
        }

    def _logits(self, batch: _Batch, image: tf.Tensor) -> tf.Tensor:
        return self.discriminator(
            [batch["source"], batch["mask"] * image], training=True
        )


def _cross_entropy(logits: tf.Tensor, label: float) -> tf.Tensor:
    labels = tf.fill(tf.shape(logits), label)
    return tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
    )
