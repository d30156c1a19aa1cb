"""What a reconstruction is compared with its target by."""

from collections.abc import Callable

import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm.losses import reconstruction

Loss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def from_config(config: configs.LossConfig) -> Loss:
    """The loss of (target, prediction, mask) that a config names.

    Raises:
        errors.UserError: if the loss needs a loss network.
    """
    if config.name == "perceptual":
        raise errors.UserError(
            "loss.name=perceptual needs the weights of a loss network, which"
            " this version cannot load; use --set loss.name=l2"
        )
    return {
        "l1": reconstruction.masked_l1,
        "l2": reconstruction.masked_l2,
    }[config.name]
