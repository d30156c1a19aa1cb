"""What the files that take square views, .tflite and .onnx, have in common.

Both hold `detector.detect_in_view` alone, and two texts about it.

tflm_view   How to make the view from an image; see `view_notes`.
tflm_model  What goes in and comes out; see `model_notes`.
"""

import os

import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import detector
from tflm.serving import model_notes
from tflm.serving import view_notes

VIEW, MODEL = "tflm_view", "tflm_model"


def function(
    model: landmark_model.LandmarkModel,
    keypoint_map: keypoint_maps.KeypointMap | None,
    batch_size: int | None,
) -> tf.types.experimental.PolymorphicFunction:
    """What is converted, with its signature.

    Args:
        model: a trained model in float32.
        keypoint_map: fitted to its landmarks, if there is one.
        batch_size: of `images`, float32 `[N, S, S, 3]`; None: any.
    """
    size = model.config.image_size
    images = tf.TensorSpec([batch_size, size, size, 3], name="images")
    return tf.function(
        lambda images: detector.detect_in_view(images, model, keypoint_map),
        input_signature=[images],
    )


def notes(
    config: configs.Config,
    keypoint_map: keypoint_maps.KeypointMap | None,
    batch_size: int | None,
) -> dict[str, str]:
    """The texts by their names; the arguments are as of `function`."""
    return {
        VIEW: view_notes.to_json(config),
        MODEL: model_notes.to_json(config, keypoint_map, batch_size),
    }


def config_of(file: str | os.PathLike, text: str) -> configs.Config:
    """Reads `VIEW`.

    Args:
        file: that has it.
        text: the note; empty if the file has none.

    Raises:
        errors.UserError: if there is no sound note.
    """
    try:
        return view_notes.from_json(text)
    except ValueError as error:
        raise errors.UserError(
            f"{file} does not say which part of an image it takes; export the"
            " run again with python export.py"
        ) from error
