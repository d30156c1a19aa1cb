"""A tiny detector whose answers differ between images, without training."""

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model

CONFIG = configs.Config(
    model=configs.ModelConfig(
        image_size=32, num_filters=4, num_landmarks=3, padding="symmetric"
    )
)

KEYPOINT_MAP = keypoint_maps.KeypointMap(
    ("head", "tail"),
    np.random.RandomState(0).normal(size=[6, 2, 2]).astype(np.float32),
    np.zeros([2, 2], np.float32),
)


def build(
    config: configs.Config = CONFIG,
) -> landmark_model.LandmarkModel:
    """Random weights, and moments of batch normalisation; always the same."""
    tf.keras.utils.set_random_seed(0)
    model = landmark_model.LandmarkModel(config.model)
    random = np.random.RandomState(0)
    networks = (model.detector, model.appearance, model.generator)
    for weight in (weight for each in networks for weight in each.weights):
        scale = {1: 0.2, 4: 0.3}[len(weight.shape)]
        weight.assign_add(scale * random.normal(size=weight.shape))
        if "moving_variance" in weight.name:
            weight.assign(tf.abs(weight) + 0.1)
    head = model.detector.get_layer("score_maps")
    head.kernel.assign(head.kernel * 2.0)
    return model


def images(*shape: int) -> np.ndarray:
    """Random blotches, uint8 `[*shape, 3]`."""
    random = np.random.RandomState(sum(shape))
    *batch, height, width = shape
    coarse = random.uniform(0, 255, [*batch, 5, 5, 3])
    smooth = tf.image.resize(coarse, [height, width], "bicubic")
    return np.clip(smooth, 0, 255).astype(np.uint8)


def views(count: int) -> np.ndarray:
    """Random blotches, float32 `[count, 32, 32, 3]` in [0, 1]."""
    return (images(count, 32, 32) / 255.0).astype(np.float32)
