"""The detector as a TFLite file, for phones and other small machines."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import sys

import numpy as np
import tensorflow as tf

from tflm.models import landmark_model
from tflm.serving import detector


def write(file: str | os.PathLike, model: landmark_model.LandmarkModel) -> None:
    """Converts the detector of `model`; only TFLite's own ops are needed.

    The one signature, `serving_default`, takes `images`, float32
    `[1, S, S, 3]` in [0, 1], a square view; see `detector.detect_in_view`.

    Args:
        file: to be written.
        model: a trained model in float32.
    """
    size = model.config.image_size
    module = tf.Module()
    module.weights = model.detector.variables
    function = tf.function(
        lambda images: detector.detect_in_view(images, model)
    ).get_concrete_function(
        tf.TensorSpec([1, size, size, 3], tf.float32, name="images")
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function], module
    )
    with _silent_stderr():
        converted = converter.convert()
    pathlib.Path(file).write_bytes(converted)


def load(
    file: str | os.PathLike,
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Loads what `write` wrote.

    Returns:
        A function of one view, float32 `[1, S, S, 3]`.
    """
    interpreter = tf.lite.Interpreter(os.fspath(file))
    runner = interpreter.get_signature_runner()
    return lambda images: runner(images=images)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drops what the converter's C++ prints: op counts, at any log level.

    Its errors are raised as well, so none is lost.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
