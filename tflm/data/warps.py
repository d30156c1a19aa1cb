"""Random thin-plate-spline warps of image batches.

The only module that imports tensorflow_addons, which is at its end of life.

A warp maps each pixel of its output to the place in its input that it shows:
an affine map plus radial kernels r^2 log r^2 on a lattice of control points.
The lattice is fixed, so the flow of a whole batch is one matrix product of a
constant basis with the random coefficients.
"""

import functools
import math
import warnings

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import coords

with warnings.catch_warnings():  # Its end-of-life notice, on every start.
    warnings.simplefilter("ignore", UserWarning)
    import tensorflow_addons as tfa

CONTROL_POINTS = 10  # Along each axis, from -1 to 1.
_SIDE_POINTS = 32  # Of the outline of an image; warped, it is curved.


def random_coefficients(
    config: configs.WarpConfig, batch_size: int, seed: tf.Tensor
) -> tf.Tensor:
    """Draws the warps of a batch.

    Args:
        config: standard deviations.
        batch_size: number of warps.
        seed: int32 `[2]`; the same seed draws the same warps.

    Returns:
        float32 `[batch_size, CONTROL_POINTS ** 2 + 3, 2]`: per output axis
        (y, x) the weights of the kernels, then of 1, y and x.

    Source: released code (TPSRandomSampler).
    """
    seeds = tf.unstack(tf.random.split(seed, 6), num=6)

    def normal(index, *shape):
        return tf.random.stateless_normal([batch_size, *shape], seeds[index])

    kernels = (CONTROL_POINTS**2, 2)
    is_bent = tf.random.stateless_uniform([batch_size, *kernels], seeds[0])
    bend = config.bend_all * normal(1, *kernels)
    bend += tf.where(is_bent > 0.5, config.bend_half * normal(2, *kernels), 0.0)
    angle = normal(3) * math.radians(config.rotation)
    scale = 1.0 + config.scale * normal(4)
    cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
    affine = tf.stack(
        [
            config.translation * normal(5, 2),
            tf.stack([cosine, -sine], axis=-1),
            tf.stack([sine, cosine], axis=-1),
        ],
        axis=1,
    )  # [B, 3, 2]
    return tf.concat([bend, affine], axis=1)


def warp(
    images: tf.Tensor, coefficients: tf.Tensor, fill: str = "border"
) -> tf.Tensor:
    """Warps a batch.

    Args:
        images: float32 `[B, H, W, C]`, static height and width.
        coefficients: see `random_coefficients`.
        fill: what lies outside an image: "border" repeats it, "zero" is 0, as
            in the released code.

    Returns:
        float32 `[B, H, W, C]`.
    """
    height, width = images.shape[1:3]
    sampled = sampling_grid(coefficients, (height, width))  # [B, H, W, 2]
    places = coords.to_pixels(sampled, (height, width))
    if fill == "zero":  # A border of zeros is what is repeated.
        images = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
        places += 1.0
    warped = tfa.image.interpolate_bilinear(
        images, tf.reshape(places, [-1, height * width, 2])
    )
    return tf.reshape(warped, [-1, height, width, images.shape[3]])


def sampling_grid(
    coefficients: tf.Tensor, image_size: tuple[int, int]
) -> tf.Tensor:
    """The place in the input that each output pixel shows.

    Returns:
        float32 `[B, height, width, 2]`, (y, x), normalised.
    """
    basis = _basis(*image_size)
    flat = tf.einsum("pn,bnd->bpd", basis, coefficients)
    return tf.reshape(flat, [-1, *image_size, 2])


def sampled_places(coefficients: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """The place in the input that the output shows at each point.

    `sampling_grid` at any points, not only at pixels; differentiable.

    Args:
        coefficients: see `random_coefficients`.
        points: float `[B, N, 2]`, (y, x), normalised, in the output.

    Returns:
        As `points`, in the input; outside [-1, 1] where the output repeats the
        input's border.
    """
    terms = _terms(tf.convert_to_tensor(points))
    coefficients = tf.cast(coefficients, terms.dtype)
    return tf.einsum("bpn,bnd->bpd", terms, coefficients)


def shows(coefficients: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Which points of the input the output shows.

    They are the points within what the outline of the output shows.

    Args:
        coefficients: see `random_coefficients`.
        points: float `[B, N, 2]`, (y, x), normalised, in the input.

    Returns:
        bool `[B, N]`.
    """
    points = tf.convert_to_tensor(points)
    coefficients = tf.cast(coefficients, points.dtype)
    basis = tf.constant(_outline_basis(), points.dtype)
    corners = tf.einsum("pn,bnd->bpd", basis, coefficients)[:, None]
    nexts = tf.roll(corners, -1, axis=2)  # [B, 1, sides, 2]
    y, x = points[..., None, 0], points[..., None, 1]  # [B, N, 1]
    rise = nexts[..., 0] - corners[..., 0]
    is_level = (corners[..., 0] > y) != (nexts[..., 0] > y)
    run = nexts[..., 1] - corners[..., 1]
    share = tf.math.divide_no_nan(y - corners[..., 0], rise)
    is_right = corners[..., 1] + share * run > x
    # A ray to the right of a point that is inside crosses an odd number.
    crossings = tf.reduce_sum(tf.cast(is_level & is_right, tf.int32), axis=-1)
    return crossings % 2 == 1


def border_mask(image_size: int) -> np.ndarray:
    """A mask that leaves out the border smoothly.

    Warped along with an image, it also leaves out what came from outside.

    Returns:
        float32 `[image_size, image_size, 1]` in [0, 1]: 0 for a margin of
        10/128 of the side, then a smooth ramp of 20/128 to 1.

    Source: released code.
    """
    margin, ramp = round(image_size * 10 / 128), round(image_size * 20 / 128)
    rise = 0.5 + 0.5 * np.tanh(coords.axis(ramp) / 0.4)
    plateau = np.ones(image_size - 2 * (margin + ramp))
    nothing = np.zeros(margin)
    profile = np.concatenate([nothing, rise, plateau, rise[::-1], nothing])
    return np.outer(profile, profile)[..., None].astype(np.float32)


@functools.lru_cache(maxsize=4)
def _basis(height: int, width: int) -> np.ndarray:
    """float32 `[height * width, CONTROL_POINTS ** 2 + 3]`."""
    pixels = _lattice(coords.axis(height), coords.axis(width))
    with tf.init_scope():  # Once, whatever function is being traced.
        return _terms(tf.constant(pixels)).numpy().astype(np.float32)


@functools.lru_cache(maxsize=1)
def _outline_basis() -> np.ndarray:
    """float32 `[4 * _SIDE_POINTS, CONTROL_POINTS ** 2 + 3]`, once around."""
    along = coords.axis(_SIDE_POINTS + 1)[:-1]
    ones = np.ones_like(along)
    sides = ((-ones, along), (along, ones), (ones, -along), (-along, -ones))
    outline = np.concatenate([np.stack(side, axis=-1) for side in sides])
    with tf.init_scope():
        return _terms(tf.constant(outline, tf.float64)).numpy()


def _terms(points: tf.Tensor) -> tf.Tensor:
    """What the coefficients weigh, at points `[..., 2]`."""
    along = coords.axis(CONTROL_POINTS)
    control = tf.constant(_lattice(along, along), points.dtype)
    offsets = points[..., None, :] - control
    squared = tf.maximum(tf.reduce_sum(offsets**2, axis=-1), 1e-12)
    kernels = squared * tf.math.log(squared)
    return tf.concat([kernels, tf.ones_like(points[..., :1]), points], axis=-1)


def _lattice(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """float64 `[len(y) * len(x), 2]`, (y, x)."""
    grid = np.meshgrid(y.astype(float), x.astype(float), indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, 2)
