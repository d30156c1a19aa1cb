"""MATLAB files up to version 7.2."""

import io
import pathlib

import numpy as np
import scipy.io

from tflm.media import tables


def read(path: pathlib.Path, source: str) -> dict[str, np.ndarray]:
    """Reads the variables of a file.

    Args:
        path: the file.
        source: where it comes from, for messages.

    Raises:
        RawDataError: if it is missing or damaged.
    """
    with tables.naming(path, f"it comes with {source}"):
        encoded = path.read_bytes()
    with tables.naming(
        path, f"fetch it again from {source}", "is no MATLAB 5 file, or damaged"
    ):
        return scipy.io.loadmat(io.BytesIO(encoded))


def by(shape: tuple[int, ...]) -> str:
    """How MATLAB writes a size: 2 x 7 x 100."""
    return " x ".join(map(str, shape))
