"""MATLAB files up to version 7.2."""

import io
import pathlib

import numpy as np
import scipy.io

from tflm import errors


def read(path: pathlib.Path, source: str) -> dict[str, np.ndarray]:
    """Reads the variables of a file.

    Args:
        path: the file.
        source: where it comes from, for messages.

    Raises:
        RawDataError: if it is missing or damaged.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise errors.RawDataError(
            f"{path} cannot be read ({error.strerror}); it comes with {source}"
        ) from None
    try:
        return scipy.io.loadmat(io.BytesIO(encoded))
    except Exception as error:  # What is damaged fails in many ways.
        raise errors.RawDataError(
            f"{path} is no MATLAB 5 file, or damaged ({error}); fetch it again"
            f" from {source}"
        ) from None


def by(shape: tuple[int, ...]) -> str:
    """How MATLAB writes a size: 2 x 7 x 100."""
    return " x ".join(map(str, shape))
