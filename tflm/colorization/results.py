"""Did a network learn to colourise? Numbers and images of a held-out split."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm.colorization import colors
from tflm.colorization import network
from tflm.data import shards as shards_lib
from tflm.data import stills
from tflm.losses import loss_networks

_HELD_OUT = ("val", "test", "regression_test")  # Roles, the first there is.
_SCORED_IMAGES = 256
_SHOWN_IMAGES = 8
_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Scores:
    """Cross-entropies in nats; the hue of a pixel counts by its chroma."""

    role: str  # Of the images.
    num_images: int
    hue: float
    hue_marginal: float  # Of the bins' frequencies in the training images.
    chroma: float
    chroma_marginal: float

    def line(self) -> str:
        """One line for people."""
        return (
            f"cross-entropy on {self.num_images} {self.role} images, nats a"
            f" pixel: hue {self.hue:.3f}, chroma {self.chroma:.3f}; without"
            " looking (colour frequencies of training images): hue"
            f" {self.hue_marginal:.3f}, chroma {self.chroma_marginal:.3f}"
        )


def held_out_role(shards: shards_lib.Shards) -> str:
    """A role whose images were not trained on; "train" if there is none."""
    trained = shards.splits["train"]
    sizes = shards.builder.info.splits
    for role in _HELD_OUT:
        split = shards.splits.get(role, trained)
        if split != trained and split in sizes and sizes[split].num_examples:
            return role
    return "train"


def images_of(
    config: configs.Config, shards: shards_lib.Shards, role: str
) -> np.ndarray:
    """The first images of a role, float32 `[N, S, S, 3]` in [0, 1]."""
    frames = stills.stills(config, shards, role, _BATCH_SIZE)
    batches = frames.take(_SCORED_IMAGES // _BATCH_SIZE).as_numpy_iterator()
    return np.concatenate([batch["image"] for batch in batches])


def spread(images: np.ndarray) -> np.ndarray:
    """A few images from all over, rather than frames of one clip."""
    count = min(_SHOWN_IMAGES, len(images))
    return images[np.linspace(0, len(images) - 1, count).round().astype(int)]


def colorized(model: tf.keras.Model, images: np.ndarray) -> np.ndarray:
    """Colourises the grey values of images.

    Args:
        model: see `network.colorizer`.
        images: float32 `[N, S, S, 3]`, RGB in [0, 1].

    Returns:
        As `images`.
    """
    probabilities = [tf.nn.softmax(part) for part in _logits(model, images)]
    return colors.expected_color(images.mean(-1), *probabilities).numpy()


def score(
    model: tf.keras.Model,
    images: np.ndarray,
    train_images: np.ndarray,
    role: str,
) -> Scores:
    """Compares a network with one that always predicts the same colours.

    Args:
        model: see `network.colorizer`.
        images: float32 `[N, S, S, 3]`, RGB in [0, 1], to predict.
        train_images: as `images`; the constant prediction is the frequency of
            the bins in them.
        role: of `images`.
    """
    targets = _in_batches(_histograms, images)
    predicted = _in_batches(
        lambda batch: [
            tf.nn.log_softmax(part) for part in _logits(model, batch)
        ],
        images,
    )
    constant = [
        np.log(np.mean(part, axis=(0, 1, 2)) + 1e-6)
        for part in _in_batches(_histograms, train_images)
    ]
    constant = [tf.nn.log_softmax(part) for part in constant]  # Sum to 1.
    mean_chroma = tf.reduce_mean(tf.reduce_sum(targets[0], axis=-1))

    def cross_entropies(log_probabilities):
        hue, chroma = colors.cross_entropies(targets, log_probabilities)
        return float(tf.math.divide_no_nan(hue, mean_chroma)), float(chroma)

    hue, chroma = cross_entropies(predicted)
    hue_marginal, chroma_marginal = cross_entropies(constant)
    return Scores(
        role=role,
        num_images=len(images),
        hue=hue,
        hue_marginal=hue_marginal,
        chroma=chroma,
        chroma_marginal=chroma_marginal,
    )


def _logits(model: tf.keras.Model, images: np.ndarray) -> list[tf.Tensor]:
    return model(loss_networks.grey(images), training=False)


def _histograms(images: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    return colors.histograms(images, network.WINDOW)


def _in_batches(
    function: Callable[[np.ndarray], Sequence[tf.Tensor]], images: np.ndarray
) -> list[np.ndarray]:
    """Applies it to a few images at a time, and joins what it returns."""
    parts = [
        function(images[start : start + _BATCH_SIZE])
        for start in range(0, len(images), _BATCH_SIZE)
    ]
    return [np.concatenate(part) for part in zip(*parts)]
