"""Requests to every signature of a SavedModel, and what Keras answers."""

import dataclasses

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import detector

Numbers = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Request:
    """Of one image."""

    signature: str
    inputs: dict[str, np.ndarray]
    expected: Numbers  # Outputs that are numbers, by their names.


def for_every_signature(
    image: np.ndarray,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    keypoint_map: keypoint_maps.KeypointMap | None,
) -> list[Request]:
    """One request each.

    Args:
        image: uint8 `[H, W, 3]`.
        model: computes what is expected.
        config: its experiment.
        keypoint_map: as it was exported with; None: no named keypoints.
    """
    images = image[None]
    found = _numpy(detector.detect_with_heatmaps(images, model, config))
    landmarks = {name: found[name] for name in ("landmarks", "confidence")}
    png = np.array([tf.io.encode_png(image).numpy()], object)
    pair = {"style_images": images, "geometry_images": images}
    requests = [
        Request("serving_default", {"images": images}, landmarks),
        Request(
            "serving_float",
            {"images": images.astype(np.float32) / np.float32(255.0)},
            landmarks,
        ),
        Request("predict_bytes", {"image_bytes": png}, landmarks),
        Request("heatmaps", {"images": images}, found),
        Request(
            "reconstruct",
            pair,
            _numpy(detector.reconstruct(images, images, model, config)),
        ),
    ]
    if keypoint_map is not None:
        named = detector.find_keypoints(images, model, config, keypoint_map)
        numbers = {name: named[name] for name in ("keypoints", "confidence")}
        requests.append(
            Request("keypoints", {"images": images}, _numpy(numbers))
        )
    return requests


def _numpy(answer: dict[str, tf.Tensor]) -> Numbers:
    return {name: output.numpy() for name, output in answer.items()}
