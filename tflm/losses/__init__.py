"""What a reconstruction is compared with its target by.

A loss is a function of a batch of `data.pairs` (it reads `source`, `target`
and `mask`) and the reconstruction of the target, float `[B, S, S, 3]`. It
returns float32 scalars: `loss`, which is minimised, and its parts by name, if
it has any. A loss with state that training must not lose is a `tf.Module`.
"""

from collections.abc import Callable
from collections.abc import Mapping

import tensorflow as tf

from tflm import configs
from tflm.losses import adversarial
from tflm.losses import loss_networks
from tflm.losses import perceptual
from tflm.losses import reconstruction

Loss = Callable[[Mapping[str, tf.Tensor], tf.Tensor], dict[str, tf.Tensor]]


def from_config(
    config: configs.LossConfig,
    network: loss_networks.LossNetwork | None = None,
    seed: int = 0,
) -> Loss:
    """Makes the loss that a config names.

    Args:
        config: the loss.
        network: what "perceptual" compares features of; unused by others.
        seed: of the first weights of a discriminator.

    Raises:
        ValueError: if the loss needs a network and has none.
    """
    if config.name == "perceptual":
        if network is None:
            raise ValueError("the perceptual loss needs a loss network")
        return perceptual.PerceptualLoss(
            network.features, network.layer_names, config.scales
        )
    pixel_loss = {
        "l1": _on_pixels(reconstruction.masked_l1),
        "l2": _on_pixels(reconstruction.masked_l2),
    }[config.name.removeprefix("adversarial_")]
    if config.name.startswith("adversarial_"):
        return adversarial.AdversarialLoss(
            pixel_loss, config.adversarial_weight, seed
        )
    return pixel_loss


def _on_pixels(
    distance: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
) -> Loss:
    def loss(
        batch: Mapping[str, tf.Tensor], prediction: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return {"loss": distance(batch["target"], prediction, batch["mask"])}

    return loss
