"""The signatures of the SavedModel: their names, inputs and outputs.

signature        inputs                           outputs
serving_default  images, uint8                    landmarks, confidence
serving_float    images, float32 in [0, 1]        landmarks, confidence
predict_bytes    image_bytes, string              landmarks, confidence, error
heatmaps         images, uint8                    landmarks, confidence,
                                                  heatmaps
reconstruct      style_images, geometry_images,   images, uint8
                 uint8
keypoints        images, uint8                    keypoints, confidence, names

The last only of a run with a map to named keypoints. Every input and output has
the batch as its first axis, as the batching of TF Serving asks for. What they
mean: `detector`. predict_bytes prepares files as `media.images` does; pixels
must be upright RGB.
"""

import os

import tensorflow as tf

from tflm import configs
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import detector

KEYPOINT_NAMES = "keypoint_names.txt"  # In the SavedModel's assets.


def build(
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    keypoint_map: keypoint_maps.KeypointMap | None = None,
    names_file: str | os.PathLike | None = None,
) -> tuple[tf.Module, dict]:
    """Traces every signature.

    Args:
        model: a trained model in float32.
        config: its experiment.
        keypoint_map: fitted to its landmarks, if there is one.
        names_file: the map's names, one a line; becomes an asset.

    Returns:
        What to save, and its signatures.
    """
    shared = _TracedModel(model)
    module = _Module(
        model.variables,
        lambda images: detector.detect(images, shared, config),
    )

    def traced(function, **inputs: tf.TensorSpec):
        specs = [
            tf.TensorSpec(spec.shape, spec.dtype, name=name)
            for name, spec in inputs.items()
        ]
        return tf.function(function).get_concrete_function(*specs)

    pixels = tf.TensorSpec([None, None, None, 3], tf.uint8)
    floats = tf.TensorSpec([None, None, None, 3], tf.float32)
    encoded = tf.TensorSpec([None], tf.string)
    signatures = {
        name: module.__call__.get_concrete_function(
            tf.TensorSpec(spec.shape, spec.dtype, name="images")
        )
        for name, spec in (
            ("serving_default", pixels),
            ("serving_float", floats),
        )
    }
    signatures["predict_bytes"] = traced(
        lambda image_bytes: detector.detect_encoded(
            image_bytes, shared, config
        ),
        image_bytes=encoded,
    )
    signatures["heatmaps"] = traced(
        lambda images: detector.detect_with_heatmaps(images, shared, config),
        images=pixels,
    )
    signatures["reconstruct"] = traced(
        lambda style_images, geometry_images: detector.reconstruct(
            style_images, geometry_images, shared, config
        ),
        style_images=pixels,
        geometry_images=pixels,
    )
    if keypoint_map is not None:
        module.names = tf.saved_model.Asset(os.fspath(names_file))
        signatures["keypoints"] = traced(
            lambda images: detector.find_keypoints(
                images, shared, config, keypoint_map
            ),
            images=pixels,
        )
    return module, signatures


class _Module(tf.Module):
    """What is saved: the weights, and a function for callers in Python."""

    def __init__(self, weights, detect):
        super().__init__(name="detector")
        self.weights = weights
        self._detect = detect

    @tf.function
    def __call__(self, images):
        return self._detect(images)


class _TracedModel:
    """A model whose networks are traced once, for all signatures together."""

    def __init__(self, model: landmark_model.LandmarkModel):
        size = model.config.image_size
        self.bottleneck = model.bottleneck
        views = tf.TensorSpec([None, size, size, 3])
        points = tf.TensorSpec([None, model.config.num_landmarks, 2])
        self.detect = tf.function(model.detect, input_signature=[views])
        self.generate = tf.function(
            model.generate, input_signature=[views, points]
        )
