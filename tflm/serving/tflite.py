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
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import quantization
from tflm.serving import view_files


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
    notes of `view_files` are metadata entries.

    Args:
        file: to be written.
        model: a trained model in float32.
        config: its experiment.
        kind: see `quantization`.
        keypoint_map: fitted to its landmarks, if there is one.
        calibration_views: see `quantization.convert`.
    """
    module = tf.Module()
    module.weights = model.detector.variables
    function = view_files.function(model, keypoint_map, batch_size=1)
    with _silent_stderr():
        converted = quantization.convert(
            lambda: tf.lite.TFLiteConverter.from_concrete_functions(
                [function.get_concrete_function()], module
            ),
            kind,
            calibration_views,
        )
    entries = view_files.notes(config, keypoint_map, batch_size=1)
    pathlib.Path(file).write_bytes(_with_entries(converted, entries))


def load(
    file: str | os.PathLike,
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Loads what `write` wrote.

    Returns:
        A function of views, float32 `[N, S, S, 3]`, N at least 1, which go
        through the model one by one.

    Raises:
        ValueError: if the file is damaged.
    """
    interpreter = tf.lite.Interpreter(os.fspath(file))
    runner = interpreter.get_signature_runner()

    def run(views: np.ndarray) -> dict[str, np.ndarray]:
        answers = [runner(images=view[None]) for view in views]
        return {
            name: np.concatenate([answer[name] for answer in answers])
            for name in answers[0]
        }

    return run


def read_view(file: str | os.PathLike) -> configs.Config:
    """Which view of an image the model takes; see `view_notes`.

    Args:
        file: a sound .tflite file, of any model.

    Raises:
        errors.UserError: if the file does not say.
    """
    model = schema.Model.GetRootAsModel(pathlib.Path(file).read_bytes(), 0)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    texts = (
        bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
        for entry in entries
        if entry.Name() == view_files.VIEW.encode()
    )
    return view_files.config_of(file, next(texts, b"").decode(errors="replace"))


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
