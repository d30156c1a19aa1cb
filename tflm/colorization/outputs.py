"""What a colourisation leaves behind: weights of a loss network, a picture."""

from collections.abc import Mapping
import io
import pathlib

import h5py
import numpy as np
import tensorflow as tf

from tflm import files
from tflm.drawing import tiles


def write_weights(
    path: pathlib.Path,
    layers: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    """Writes the convolutions of a network as Larsson et al. published theirs.

    Group /data has a group per layer, with dataset "0", the kernel in Caffe's
    order `[out, in, height, width]`, and dataset "1", the bias.

    Args:
        path: file to write; replaced at once and only when it is complete.
        layers: see `network.folded`.
    """
    content = io.BytesIO()  # HDF5 would lock a file, which is locked already.
    with h5py.File(content, "w") as file:
        for name, (kernel, bias) in layers.items():
            group = file.create_group(f"data/{name}")
            group["0"] = np.transpose(kernel, (3, 2, 0, 1)).astype(np.float32)
            group["1"] = bias.astype(np.float32)
    with files.replacing(path) as partial:
        partial.write_bytes(content.getbuffer())


def write_picture(
    path: pathlib.Path,
    grey: np.ndarray,
    colorized: np.ndarray,
    images: np.ndarray,
) -> None:
    """Writes three rows as a PNG: grey images, colourised, and as they were.

    Args:
        path: file to write; replaced at once and only when it is complete.
        grey: float `[N, S, S]` in [0, 1].
        colorized: float `[N, S, S, 3]`, RGB in [0, 1].
        images: as `colorized`.
    """
    rows = [np.repeat(grey[..., None], 3, axis=-1), colorized, images]
    picture = np.concatenate(
        [np.hstack(list(tiles.enlarged(row))) for row in rows]
    )
    pixels = np.round(255.0 * picture.clip(0.0, 1.0)).astype(np.uint8)
    with files.replacing(path) as partial:
        partial.write_bytes(tf.io.encode_png(pixels).numpy())
