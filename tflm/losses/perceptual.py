"""The perceptual loss, with its running scales."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from tflm import configs
from tflm.losses import reconstruction

# Released code. That of "input" is 100 for images in 0 to 255; errors are
# squared, so for images in [0, 1] it is 100 / 255^2, and the loss is the same.
_RELEASED_SCALES = {
    "input": 100.0 / 255.0**2,
    "conv1_2": 1.6,
    "conv2_2": 2.3,
    "conv3_2": 1.8,
    "conv4_2": 2.8,
    "conv5_2": 100.0,
}
_RELEASED_WEIGHT = 1000.0


class PerceptualLoss(tf.Module):
    """Distances between features of a fixed network, in balance.

    Layer l contributes its masked squared error over a running mean of that
    error, which this batch has updated. The running means are training state:
    checkpoint this object; the network is not part of it.

    Args:
        features: the loss network: images `[B, S, S, 3]` in [0, 1] to a list
            of feature maps `[B, h, w, c]`, from constants.
        layer_names: one per feature map; the images themselves come before
            them as the layer "input".
        scales: "bias_corrected": the running means start from the first
            batches' own values, no gradient flows through them, errors are
            means over what the mask leaves, and the loss is the mean over
            layers, 1 on average. "released": they start from constants that
            fit the colourisation VGG-16 of Larsson et al., the gradient flows
            through them, errors are means over all values, masked ones as 0,
            and the loss is 1000 times the sum over layers.
        decay: of the running means.

    Raises:
        ValueError: if `decay` is not in [0, 1), `scales` is unknown, or a
            layer has no released scale.

    Source: Jakab et al., NeurIPS 2018, sec. 3.2, and their released code;
    Chen and Koltun (ICCV 2017).
    """

    def __init__(
        self,
        features: Callable[[tf.Tensor], Sequence[tf.Tensor]],
        layer_names: Sequence[str],
        scales: str = "bias_corrected",
        decay: float = 0.99,
    ):
        super().__init__(name="perceptual_loss")
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        if scales not in configs.SCALES:
            raise ValueError(f"unknown scales: {scales!r}")
        self._features = features
        self.layer_names = ("input", *layer_names)
        self._decay = decay
        self._is_released = scales == "released"
        starts, weight = [0.0] * len(self.layer_names), 0.0
        if self._is_released:
            if unknown := set(self.layer_names) - set(_RELEASED_SCALES):
                raise ValueError(f"no released scales of {sorted(unknown)}")
            # As if of infinitely many batches: the weight stays 1.
            starts = [_RELEASED_SCALES[name] for name in self.layer_names]
            weight = 1.0
        self.error_sums = tf.Variable(starts, trainable=False)
        self.weight_sum = tf.Variable(weight, trainable=False)

    def __call__(
        self, batch: Mapping[str, tf.Tensor], prediction: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Updates the scales with this batch, then weighs its errors.

        Args:
            batch: `target`, float32 `[B, S, S, 3]` in [0, 1], and `mask`,
                float32 `[B, S, S, 1]`, 1 = counts, 0 = ignored.
            prediction: as `target`, unbounded.

        Returns:
            float32 scalars: `loss`, and the error of each layer before
            scaling, `loss/input`, `loss/conv1_2` and so on.
        """
        errors = self._errors(batch, prediction)
        values, keep = tf.stack(errors), self._decay
        new = values if self._is_released else tf.stop_gradient(values)
        sums = keep * self.error_sums + (1.0 - keep) * new
        weight = keep * self.weight_sum + (1.0 - keep)
        self.error_sums.assign(sums)
        self.weight_sum.assign(weight)
        scaled = tf.math.divide_no_nan(values, sums / weight)
        if self._is_released:
            loss = _RELEASED_WEIGHT * tf.reduce_sum(scaled)
        else:
            loss = tf.reduce_mean(scaled)
        parts = {f"loss/{n}": e for n, e in zip(self.layer_names, errors)}
        return {"loss": loss, **parts}

    def _errors(self, batch, prediction) -> list[tf.Tensor]:
        # Nothing of the target is watched by a gradient tape, so its pass
        # through the network is not recorded. (The released code runs both
        # images as one batch, which doubles the backward pass.)
        target = batch["target"]
        wanted = [target, *self._features(target)]
        found = [prediction, *self._features(prediction)]
        if len(found) != len(self.layer_names):
            raise ValueError(
                f"{len(self.layer_names) - 1} layers are named, the loss"
                f" network gives {len(found) - 1}"
            )
        return [
            self._error(tf.stop_gradient(want), have, batch["mask"])
            for want, have in zip(wanted, found)
        ]

    def _error(self, wanted, found, mask) -> tf.Tensor:
        size = found.shape[1:3]
        if mask.shape[1:3] != size:
            mask = tf.image.resize(mask, size)
        if self._is_released:
            return tf.reduce_mean(
                mask * tf.math.squared_difference(found, wanted)
            )
        return reconstruction.masked_l2(wanted, found, mask)
