"""The model as a SavedModel, for TensorFlow Serving and TensorFlow."""

from collections.abc import Callable
import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import signatures
from tflm.serving import view_notes
from tflm.serving import warm_up

# In the folder that SavedModel leaves to its writer.
VIEW = "assets.extra/view.json"

# Runs the signature of a name on named inputs.
Call = Callable[..., dict[str, np.ndarray]]


def write(
    folder: str | os.PathLike,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    keypoint_map: keypoint_maps.KeypointMap | None = None,
) -> None:
    """Writes the model, the generator included, with all its `signatures`.

    In Python, `tf.saved_model.load(folder)(images)` takes uint8 and float32
    images. `assets.extra` holds `view.json`, which says which part of them the
    model sees, and requests that TF Serving runs before it serves: `warm_up`.

    Args:
        folder: the version's folder; for TF Serving its name is a number.
        model: a trained model in float32.
        config: its experiment.
        keypoint_map: fitted to its landmarks, if there is one.
    """
    folder = pathlib.Path(folder)
    with tempfile.TemporaryDirectory() as scratch:
        names_file = pathlib.Path(scratch) / signatures.KEYPOINT_NAMES
        if keypoint_map is not None:
            lines = "".join(f"{name}\n" for name in keypoint_map.names)
            names_file.write_text(lines, encoding="utf-8")
        module, functions = signatures.build(
            model, config, keypoint_map, names_file
        )
        tf.saved_model.save(module, os.fspath(folder), functions)
    notes = folder / VIEW
    notes.parent.mkdir(exist_ok=True)
    notes.write_text(view_notes.to_json(config))
    warm_up.write(
        folder / warm_up.FILE,
        warm_up.requests(functions, config.model.image_size),
    )


def read_view(folder: str | os.PathLike) -> configs.Config:
    """Which view of an image the model sees; see `view_notes`.

    Raises:
        errors.UserError: if the model does not say.
    """
    try:
        return view_notes.from_json((pathlib.Path(folder) / VIEW).read_text())
    except (OSError, ValueError) as error:
        raise errors.UserError(
            f"{folder} has no readable {VIEW}; export the run again with"
            " python export.py"
        ) from error


def open_signatures(folder: str | os.PathLike) -> Call:
    """Loads what `write` wrote.

    Returns:
        A function of a signature's name and its inputs by their names, which
        gives its outputs.
    """
    module = tf.saved_model.load(os.fspath(folder))

    def call(name: str, **inputs) -> dict[str, np.ndarray]:
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        outputs = module.signatures[name](**tensors)
        return {key: output.numpy() for key, output in outputs.items()}

    # A loaded signature does not keep its variables alive; the module does.
    return call


def load(
    folder: str | os.PathLike,
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Loads what `write` wrote, to find landmarks alone.

    Returns:
        A function of images, uint8 or float32, that runs the signature for
        their type.
    """
    call = open_signatures(folder)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        is_uint8 = images.dtype == np.uint8
        name = "serving_default" if is_uint8 else "serving_float"
        return call(name, images=images)

    return run
