"""The detector as a TFLite file, for phones and other small machines."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import os
import pathlib
import sys

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from tflm import configs
from tflm import errors
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import detector
from tflm.serving import model_notes
from tflm.serving import quantization
from tflm.serving import view_notes

# Names of the file's metadata entries.
_VIEW, _MODEL = "tflm_view", "tflm_model"


def file_name(kind: str) -> str:
    """Of the detector in a kind of `quantization.KINDS`."""
    suffix = "" if kind == "float32" else f"_{kind}"
    return f"detector{suffix}.tflite"


def write(
    file: str | os.PathLike,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    kind: str = "float32",
    keypoint_map: keypoint_maps.KeypointMap | None = None,
    calibration_views: Sequence[np.ndarray] = (),
) -> None:
    """Converts the detector of `model`; only TFLite's own ops are needed.

    The one signature, `serving_default`, takes `images`, float32
    `[1, S, S, 3]` in [0, 1], a square view; see `detector.detect_in_view`. The
    metadata entry `tflm_view` says how to make it from an image, `tflm_model`
    what goes in and comes out: see `view_notes` and `model_notes`.

    Args:
        file: to be written.
        model: a trained model in float32.
        config: its experiment.
        kind: see `quantization`.
        keypoint_map: fitted to its landmarks, if there is one.
        calibration_views: see `quantization.convert`.
    """
    size = model.config.image_size
    module = tf.Module()
    module.weights = model.detector.variables
    function = tf.function(
        lambda images: detector.detect_in_view(images, model, keypoint_map)
    ).get_concrete_function(
        tf.TensorSpec([1, size, size, 3], tf.float32, name="images")
    )
    with _silent_stderr():
        converted = quantization.convert(
            lambda: tf.lite.TFLiteConverter.from_concrete_functions(
                [function], module
            ),
            kind,
            calibration_views,
        )
    entries = {
        _VIEW: view_notes.to_json(config),
        _MODEL: model_notes.to_json(config, keypoint_map),
    }
    pathlib.Path(file).write_bytes(_with_entries(converted, entries))


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


def read_view(file: str | os.PathLike) -> configs.Config:
    """Which view of an image the model takes; see `view_notes`.

    Args:
        file: a sound .tflite file, of any model.

    Raises:
        errors.UserError: if the file does not say.
    """
    model = schema.Model.GetRootAsModel(pathlib.Path(file).read_bytes(), 0)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    texts = [
        bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
        for entry in entries
        if entry.Name() == _VIEW.encode()
    ]
    try:
        (text,) = texts
        return view_notes.from_json(text.decode())
    except ValueError as error:
        raise errors.UserError(
            f"{file} does not say which part of an image it takes; export the"
            " run again with python export.py"
        ) from error


def _with_entries(converted: bytes, entries: dict[str, str]) -> bytes:
    """Adds metadata entries to a .tflite file."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(converted))
    model.metadata = model.metadata or []
    for name, text in entries.items():
        entry, data = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer = name, len(model.buffers)
        data.data = np.frombuffer(text.encode(), np.uint8)
        model.buffers.append(data)
        model.metadata.append(entry)
    return flatbuffer_utils.convert_object_to_bytearray(model)


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
