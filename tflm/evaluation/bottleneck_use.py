"""Does the generator use the landmarks, and do they follow the image?

Reconstruction: each target is redrawn from its source's looks, with the
target's own landmarks, with the source's and with those of another target. If
the last two are no worse than the first, the generator makes no use of the
landmarks. The error is the mean squared error per pixel and channel, of colours
in [0, 1], over the whole image.

Shift: each image is shifted by a few pixels, its border repeated. The share of
the shift by which a landmark moves is 1 if it follows fully and 0 if it stays:
the slope of the line of least squares through its places over the shifts.

Not in the paper.
"""

import numpy as np
import tensorflow as tf

from tflm import coords
from tflm.models import landmark_model

_BATCH_SIZE = 64
_SHIFTS = (-1 / 16, -1 / 32, 1 / 32, 1 / 16)  # Of the side of the image.


def measure(
    model: landmark_model.LandmarkModel,
    source: np.ndarray,
    target: np.ndarray,
    images: np.ndarray,
) -> dict:
    """Both measurements.

    Args:
        model: with trained weights.
        source: float32 `[N, S, S, 3]` in [0, 1].
        target: as `source`: the same objects in other geometries.
        images: float32 `[M, S, S, 3]` in [0, 1], to be shifted.

    Returns:
        A dict: `reconstruction`, see `reconstruction_errors`; `shift`, see
        `shares_of_shift`; and `num_pairs` and `num_images`, N and M.
    """
    return {
        "reconstruction": reconstruction_errors(model, source, target),
        "shift": shares_of_shift(model, images),
        "num_pairs": len(source),
        "num_images": len(images),
    }


def reconstruction_errors(
    model: landmark_model.LandmarkModel, source: np.ndarray, target: np.ndarray
) -> dict[str, float]:
    """How well targets are redrawn with right and with wrong landmarks.

    Args:
        model: with trained weights.
        source: float32 `[N, S, S, 3]` in [0, 1].
        target: as `source`.

    Returns:
        Mean squared errors: `right`, with the target's landmarks; `source`,
        with the source's; `other`, with those of the target N // 2 further on,
        NaN if there is but one.
    """
    size = source.shape[1]
    image_spec = tf.TensorSpec([None, size, size, 3])

    @tf.function(input_signature=[image_spec])
    def find(images):
        return model.detect(images)["landmarks"]

    @tf.function(
        input_signature=[
            image_spec,
            image_spec,
            tf.TensorSpec([None, None, 2]),
        ]
    )
    def image_errors(sources, targets, landmarks):
        redrawn = model.generate(sources, landmarks)
        return tf.reduce_mean((redrawn - targets) ** 2, axis=(1, 2, 3))

    source_landmarks, target_landmarks = (
        np.concatenate([find(batch) for batch in _batches(images)])
        for images in (source, target)
    )
    landmarks_of = {"right": target_landmarks, "source": source_landmarks}
    found = {"right": 0.0, "source": 0.0, "other": float("nan")}
    if len(target) > 1:
        # Far from it: pairs next to each other may be of one video.
        landmarks_of["other"] = np.roll(
            target_landmarks, -(len(target) // 2), axis=0
        )
    for name, landmarks in landmarks_of.items():
        batches = zip(*map(_batches, (source, target, landmarks)))
        found[name] = float(
            np.concatenate([image_errors(*batch) for batch in batches]).mean()
        )
    return found


def shares_of_shift(
    model: landmark_model.LandmarkModel, images: np.ndarray
) -> dict:
    """The share of a known shift of the image by which landmarks move.

    Args:
        model: with trained weights.
        images: float32 `[N, S, S, 3]` in [0, 1].

    Returns:
        A dict: `pixels`, the shifts, of an image of S pixels; `followed`, `[K]`
        pairs of shares: of shifts along y by which the landmark moves along y,
        and of x likewise; `mean`, the pair of their means over landmarks.
    """
    size = images.shape[1]
    pixels = [round(share * size) for share in _SHIFTS]

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, size, size, 3]),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int32),
        ]
    )
    def find(batch, axis, shift):
        # What the shifted image shows at a row (or column).
        rows = tf.clip_by_value(tf.range(size) - shift, 0, size - 1)
        shifted = tf.cond(
            axis == 0,
            lambda: tf.gather(batch, rows, axis=1),
            lambda: tf.gather(batch, rows, axis=2),
        )
        return model.detect(shifted)["landmarks"]

    places_px = coords.to_pixels(
        np.stack(
            [
                [
                    np.concatenate(
                        [find(batch, axis, shift) for batch in _batches(images)]
                    )[..., axis]
                    for shift in pixels
                ]
                for axis in (0, 1)
            ],
            axis=-1,
        ).astype(np.float64),
        (size, size),
    )  # [shifts, N, K, 2]: along y of shifts along y, and of x likewise.
    # The shifts' mean is 0, so this is the slope with a constant term, and the
    # mean of the slopes of all images.
    weights = np.array(pixels) / np.sum(np.square(pixels))
    followed = np.einsum("s,snkd->kd", weights, places_px) / len(images)
    return {
        "pixels": pixels,
        "followed": followed.tolist(),
        "mean": followed.mean(axis=0).tolist(),
    }


def _batches(rows: np.ndarray) -> list[np.ndarray]:
    starts = range(0, len(rows), _BATCH_SIZE)
    return [rows[start : start + _BATCH_SIZE] for start in starts]
