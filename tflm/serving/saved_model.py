"""The detector as a SavedModel, for TensorFlow Serving and TensorFlow."""

from collections.abc import Callable
import os
import pathlib

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm.models import landmark_model
from tflm.serving import detector
from tflm.serving import view_notes

# The folder that SavedModel leaves to its writer; TF Serving passes over it.
_VIEW = "assets.extra/view.json"


def write(
    folder: str | os.PathLike,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
) -> None:
    """Writes the detector of `model`, without its generator.

    A tensor of a signature has one type, so there are two signatures with the
    same input name `images` and the same outputs (see `detector.detect`):
    `serving_default` takes uint8 `[N, H, W, 3]`, `serving_float` float32 in
    [0, 1]. In Python, `tf.saved_model.load(folder)(images)` takes either.
    `assets.extra/view.json` says which part of them the model sees.

    Args:
        folder: the version's folder; for TF Serving its name is a number.
        model: a trained model in float32.
        config: its experiment.
    """
    module = _Detector(model, config)
    signatures = {
        name: module.__call__.get_concrete_function(
            tf.TensorSpec([None, None, None, 3], dtype, name="images")
        )
        for name, dtype in (
            ("serving_default", tf.uint8),
            ("serving_float", tf.float32),
        )
    }
    tf.saved_model.save(module, os.fspath(folder), signatures)
    notes = pathlib.Path(folder) / _VIEW
    notes.parent.mkdir(exist_ok=True)
    notes.write_text(view_notes.to_json(config))


def read_view(folder: str | os.PathLike) -> configs.Config:
    """Which view of an image the model sees; see `view_notes`.

    Raises:
        errors.UserError: if the model does not say.
    """
    try:
        return view_notes.from_json((pathlib.Path(folder) / _VIEW).read_text())
    except (OSError, ValueError) as error:
        raise errors.UserError(
            f"{folder} has no readable {_VIEW}; export the run again with"
            " python export.py"
        ) from error


def load(
    folder: str | os.PathLike,
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Loads what `write` wrote.

    Returns:
        A function of images, uint8 or float32, that runs the signature for
        their type.
    """
    module = tf.saved_model.load(os.fspath(folder))

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        is_uint8 = images.dtype == np.uint8
        name = "serving_default" if is_uint8 else "serving_float"
        outputs = module.signatures[name](images=tf.constant(images))
        return {name: output.numpy() for name, output in outputs.items()}

    # A loaded signature does not keep its variables alive; the module does.
    return run


class _Detector(tf.Module):
    """What is saved: one function, and only the variables that it reads."""

    def __init__(
        self, model: landmark_model.LandmarkModel, config: configs.Config
    ):
        super().__init__(name="detector")
        self.weights = model.detector.variables
        # Hidden in a function: all that an attribute refers to is saved.
        self._detect = lambda images: detector.detect(images, model, config)

    @tf.function
    def __call__(self, images):
        return self._detect(images)
