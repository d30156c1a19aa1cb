"""What lets only a few numbers of the target through to the generator.

The landmark bottleneck, score maps to points to Gaussian maps; and the fully
connected layer that the paper compares it with.
"""

import math

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import coords

_WINDOW_SIGMA = 0.3  # Normalised units.
_GRID_SIZE = 1.5  # Side of the square that the homes share, of the image's 2.


@tf.keras.utils.register_keras_serializable(package="tflm")
class HeatmapBottleneck(tf.keras.layers.Layer):
    """Reduces score maps to points, then redraws them as Gaussian maps.

    Each map's row and column marginals become distributions (softmax); their
    means are the landmark. Nothing but 2 numbers per landmark passes through.

    In a training landmarks may start in windows: the marginals are multiplied
    by Gaussians around the landmark's home, its place on a grid. Without them
    all landmarks start in the centre of the image, look alike to the
    generator, and need thousands of steps to part. Not in the paper.

    Args:
        sigma: standard deviation of the drawn Gaussians, normalised units.
        marginal: "mean" or "sum" of the scores over the other axis. The paper
            writes a sum; the released code takes the mean, a softmax that is
            softer by the number of rows.
        temperature: the marginals are divided by it before the softmax.
        gaussian: "paper" is exp(-d^2 / (2 sigma^2)), eq. 2; "released" leaves
            out the 2.

    Call arguments:
        scores: `[batch, height, width, num_landmarks]`, unbounded.
        windows: how narrow the windows are, a number or scalar tensor: the
            Gaussians' precision over that of a standard deviation of
            `_WINDOW_SIGMA`; 0: there are none.

    Output shape:
        A pair: landmarks `[batch, num_landmarks, 2]`, (y, x) in [-1, 1];
        heatmaps, same shape as the scores, in (0, 1], 1 at the landmark.

    Raises:
        ValueError: if `sigma` or `temperature` is not positive, or a choice is
            unknown.

    Source: Jakab et al., NeurIPS 2018, eqs. 1 (separable form) and 2.
    """

    def __init__(
        self,
        sigma: float = 0.1,
        marginal: str = "mean",
        temperature: float = 1.0,
        gaussian: str = "paper",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if sigma <= 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if marginal not in configs.MARGINALS:
            raise ValueError(f"unknown marginal: {marginal!r}")
        if gaussian not in configs.GAUSSIANS:
            raise ValueError(f"unknown gaussian: {gaussian!r}")
        self.sigma = sigma
        self.marginal = marginal
        self.temperature = temperature
        self.gaussian = gaussian

    def build(self, input_shape):
        self.y = coords.axis(input_shape[1])  # [H]
        self.x = coords.axis(input_shape[2])  # [W]
        self.homes = grid(input_shape[3])  # [K, 2]
        super().build(input_shape)

    def marginals(
        self, scores: tf.Tensor, windows: float | tf.Tensor = 0.0
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Row and column distributions of score maps.

        Args:
            scores: see the class.
            windows: see the class.

        Returns:
            `[B, H, K]` and `[B, W, K]`; each sums to 1 over its middle axis.
        """
        reduce = {"mean": tf.reduce_mean, "sum": tf.reduce_sum}[self.marginal]
        rows = reduce(scores, axis=2) / self.temperature
        columns = reduce(scores, axis=1) / self.temperature
        if tf.is_tensor(windows) or windows:
            precision = windows / _WINDOW_SIGMA**2
            dy = self.y[:, None] - self.homes[:, 0]  # [H, K]
            dx = self.x[:, None] - self.homes[:, 1]  # [W, K]
            rows -= precision * dy**2 / 2.0
            columns -= precision * dx**2 / 2.0
        return tf.nn.softmax(rows, axis=1), tf.nn.softmax(columns, axis=1)

    def heatmaps(self, landmarks: tf.Tensor) -> tf.Tensor:
        """Draws points `[B, K, 2]` as Gaussian maps `[B, H, W, K]`."""
        spread = {"paper": 2.0, "released": 1.0}[self.gaussian]
        spread = spread * self.sigma**2
        dy = self.y[None, :, None] - landmarks[:, None, :, 0]  # [B, H, K]
        dx = self.x[None, :, None] - landmarks[:, None, :, 1]  # [B, W, K]
        rows, columns = tf.exp(-(dy**2) / spread), tf.exp(-(dx**2) / spread)
        return rows[:, :, None] * columns[:, None]

    def call(self, scores, windows=0.0):
        rows, columns = self.marginals(scores, windows)
        mean_y = tf.einsum("bhk,h->bk", rows, self.y)
        mean_x = tf.einsum("bwk,w->bk", columns, self.x)
        landmarks = tf.stack([mean_y, mean_x], axis=-1)
        return landmarks, self.heatmaps(landmarks)

    def get_config(self):
        return {
            **super().get_config(),
            "sigma": self.sigma,
            "marginal": self.marginal,
            "temperature": self.temperature,
            "gaussian": self.gaussian,
        }


def grid(num_points: int) -> np.ndarray:
    """Places spread evenly over the middle of the image, row by row.

    Args:
        num_points: in about as many rows as columns.

    Returns:
        float32 `[num_points, 2]`, (y, x), normalised.
    """
    rows = np.array_split(
        np.arange(num_points), max(1, round(math.sqrt(num_points)))
    )
    places = [
        (2 * (row + 0.5) / len(rows) - 1, 2 * (column + 0.5) / len(points) - 1)
        for row, points in enumerate(rows)
        for column in range(len(points))
    ]
    return np.array(places, np.float32) * np.float32(_GRID_SIZE / 2)


@tf.keras.utils.register_keras_serializable(package="tflm")
class FullyConnectedBottleneck(tf.keras.layers.Layer):
    """Reduces features to a short code, then draws maps from it, both linear.

    As narrow as the landmark bottleneck, but nothing makes the code geometry.

    Args:
        units: numbers in the code; even.
        num_maps: channels of the maps.

    Input shape:
        `[batch, height, width, channels]`, features.

    Output shape:
        A pair, in the places of landmarks and heatmaps: the code as
        `[batch, units / 2, 2]`, unbounded, which is no position of anything;
        maps `[batch, height, width, num_maps]`, unbounded.

    Raises:
        ValueError: if `units` is not positive and even, or `num_maps` is not
            positive.

    Source: Jakab et al., NeurIPS 2018, table 2, left. How they get from the
    code back to maps is not stated; here by another fully connected layer.
    Both start as Keras' dense layers do (Glorot uniform).
    """

    def __init__(self, units: int, num_maps: int, **kwargs):
        super().__init__(**kwargs)
        if units <= 0 or units % 2:
            raise ValueError(f"units must be positive and even, got {units}")
        if num_maps <= 0:
            raise ValueError(f"num_maps must be positive, got {num_maps}")
        self.units = units
        self.num_maps = num_maps

    def build(self, input_shape):
        _, height, width, channels = input_shape
        map_shape = [height, width, self.num_maps]
        self.flatten = tf.keras.layers.Reshape([height * width * channels])
        self.encode = tf.keras.layers.Dense(self.units, name="code")
        self.decode = tf.keras.layers.Dense(math.prod(map_shape), name="maps")
        self.encode.build([None, height * width * channels])
        self.decode.build([None, self.units])
        self.unflatten = tf.keras.layers.Reshape(map_shape)
        super().build(input_shape)

    def call(self, features):
        code = self.encode(self.flatten(features))  # [B, units]
        maps = self.unflatten(self.decode(code))
        return tf.reshape(code, [-1, self.units // 2, 2]), maps

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "num_maps": self.num_maps,
        }
