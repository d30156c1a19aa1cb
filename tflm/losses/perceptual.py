"""The perceptual loss, with its running scales."""

from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from tflm.losses import reconstruction


class PerceptualLoss(tf.Module):
    """Distances between features of a fixed network, in balance.

    Layer l contributes its masked mean squared error over a running mean of
    that error, so that every layer contributes 1 on average. The running means
    are training state: checkpoint this object.

    Args:
        features: the loss network: images `[B, S, S, 3]` in [0, 1] to a list
            of feature maps `[B, h, w, c]`; its variables are not trained.
        layer_names: one per feature map; the images themselves come before
            them as the layer "input".
        decay: of the running means. They start from the first batches' own
            values (bias-corrected), so no constant fits one image range only.

    Raises:
        ValueError: if `decay` is not in [0, 1).

    Source: Jakab et al., NeurIPS 2018, sec. 3.2, and Chen and Koltun (ICCV
    2017). No gradient flows through the scales (it does in the released code,
    which also starts them from constants).
    """

    def __init__(
        self,
        features: Callable[[tf.Tensor], Sequence[tf.Tensor]],
        layer_names: Sequence[str],
        decay: float = 0.99,
    ):
        super().__init__(name="perceptual_loss")
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self._features = features
        self.layer_names = ("input", *layer_names)
        self._decay = decay
        shape = [len(self.layer_names)]
        self.error_sums = tf.Variable(tf.zeros(shape), trainable=False)
        self.weight_sum = tf.Variable(0.0, trainable=False)

    def __call__(
        self, target: tf.Tensor, prediction: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Updates the scales with this batch, then weighs its errors.

        Args:
            target: float32 `[B, S, S, 3]` in [0, 1].
            prediction: as `target`, unbounded.
            mask: float32 `[B, S, S, 1]`, 1 = counts, 0 = ignored.

        Returns:
            float32 scalar, the mean over layers: 1 on average.
        """
        errors = tf.stack(self._errors(target, prediction, mask))
        keep = self._decay
        sums = self.error_sums.assign(
            keep * self.error_sums + (1.0 - keep) * tf.stop_gradient(errors)
        )
        weight = self.weight_sum.assign(keep * self.weight_sum + 1.0 - keep)
        return tf.reduce_mean(tf.math.divide_no_nan(errors, sums / weight))

    def _errors(self, target, prediction, mask) -> list[tf.Tensor]:
        wanted = [target, *self._features(target)]
        found = [prediction, *self._features(prediction)]
        if len(found) != len(self.layer_names):
            raise ValueError(
                f"{len(self.layer_names) - 1} layers are named, the loss"
                f" network gives {len(found) - 1}"
            )
        return [
            reconstruction.masked_l2(
                tf.stop_gradient(want), have, _resized(mask, have)
            )
            for want, have in zip(wanted, found)
        ]


def _resized(mask: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    size = like.shape[1:3]
    return mask if mask.shape[1:3] == size else tf.image.resize(mask, size)
