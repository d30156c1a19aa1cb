"""Models whose answers are known."""

import tensorflow as tf

from tflm import configs
from tflm import coords
from tflm.models import landmark_model


def real(image_size: int) -> landmark_model.LandmarkModel:
    """A real one: a new model of three landmarks, always the same."""
    tf.keras.utils.set_random_seed(0)
    return landmark_model.LandmarkModel(
        configs.ModelConfig(
            image_size=image_size,
            num_landmarks=3,
            num_filters=4,
            initializer="he_normal",
        )
    )


class Brightest:
    """Detects one landmark: the centroid of what is bright."""

    def detect(self, images):
        light = tf.nn.relu(images[..., 0] - 0.1)  # [B, S, S]
        total = tf.reduce_sum(light, axis=(1, 2))
        axis = coords.axis(images.shape[1])
        y = tf.einsum("byx,y->b", light, axis) / total
        x = tf.einsum("byx,x->b", light, axis) / total
        return {"landmarks": tf.stack([y, x], axis=-1)[:, None]}


class Constant:
    """Detects landmarks at the same places of every image."""

    def __init__(self, points):
        self.points = tf.constant(points, tf.float32)

    def detect(self, images):
        repeats = [tf.shape(images)[0], 1, 1]
        return {"landmarks": tf.tile(self.points[None], repeats)}


class Joined:
    """Takes y from one model and x from another."""

    def __init__(self, of_y, of_x):
        self.of_y, self.of_x = of_y, of_x

    def detect(self, images):
        y, x = (
            model.detect(images)["landmarks"][..., axis]
            for axis, model in enumerate((self.of_y, self.of_x))
        )
        return {"landmarks": tf.stack([y, x], axis=-1)}


class Colours:
    """The geometry of an image is its red and green, its style its blue.

    For images of one colour.
    """

    def detect(self, images):
        return {"landmarks": images[:, 0, :1, :2]}

    def generate(self, source, landmarks):
        size = source.shape[1]
        geometry = tf.tile(landmarks[:, None], [1, size, size, 1])
        return tf.concat([geometry, source[..., 2:]], axis=-1)


def spots(points, size: int) -> tf.Tensor:
    """Images `[B, size, size, 3]` of a soft spot at points `[B, 2]`."""
    points = tf.constant(points, tf.float32)
    axis = coords.axis(size)
    dy = axis[None, :, None] - points[:, 0, None, None]
    dx = axis[None, None] - points[:, 1, None, None]
    light = tf.exp(-(dy**2 + dx**2) / (2 * 0.1**2))
    return tf.repeat(light[..., None], 3, axis=-1)


def colours(values, size: int) -> tf.Tensor:
    """Images `[B, size, size, 3]` of one colour each, `[B, 3]`."""
    values = tf.constant(values, tf.float32)
    return tf.tile(values[:, None, None], [1, size, size, 1])
