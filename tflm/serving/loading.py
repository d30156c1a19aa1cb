"""One function of images from a run, a SavedModel, a TFLite or an ONNX file.

    detector = tflm.serving.load_detector("runs/celeba")
    found = detector(images)
    found["landmarks"]   # [N, K, 2], (x, y), fractions of each image.

Every form sees the same square views, made here by `data.views.square`, so a
folder of images of many sizes costs no new graph and no memory per size.
"""

from collections.abc import Callable
from collections.abc import Sequence
import os
import pathlib

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import coords
from tflm import errors
from tflm.data import views
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import onnx_file
from tflm.serving import saved_model
from tflm.serving import tflite
from tflm.training import checkpoints

# From views, float32 [N, S, S, 3] in [0, 1], to `landmarks`, [N, K, 2], (y, x),
# normalised in the view, and `confidence`, [N, K].
Find = Callable[[np.ndarray], dict[str, np.ndarray]]

# Modules that load files of square views, by the ends of their names.
_FILES = {".tflite": tflite, ".onnx": onnx_file}


class Detector:
    """Finds landmarks in images of any size.

    Args:
        find: the model; see `Find`.
        config: `model.image_size`, `model.num_landmarks` and
            `data.crop_fraction` are used; callers crop as `data.frame_crop`
            says before they call.
        keypoint_map: from landmarks to named keypoints, if there is one.
        batch_size: views that go through the model at once.
    """

    def __init__(
        self,
        find: Find,
        config: configs.Config,
        keypoint_map: keypoint_maps.KeypointMap | None = None,
        batch_size: int = 32,
    ):
        self._find = find
        self._config = config
        self.frame_crop = config.data.frame_crop
        self.num_landmarks = config.model.num_landmarks
        self.keypoint_map = keypoint_map
        self.batch_size = batch_size

    def __call__(
        self, images: np.ndarray | Sequence[np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Finds the landmarks of images.

        Args:
            images: uint8 `[N, H, W, 3]`, or a sequence of uint8 `[H, W, 3]` of
                any sizes from 2 x 2 pixels on.

        Returns:
            `landmarks`, float32 `[N, K, 2]`, (x, y): 0 is the centre of an
            image's first column or row, 1 that of its last; within [0, 1].
            `confidence`, float32 `[N, K]` in [0, 1].

        Raises:
            ValueError: if an image is of another shape or type.
        """
        parts = [
            {
                "landmarks": np.zeros([0, self.num_landmarks, 2], np.float32),
                "confidence": np.zeros([0, self.num_landmarks], np.float32),
            }
        ]
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size]
            parts.append(
                self.in_views(
                    np.stack([self.view(image) for image in batch]),
                    [image.shape[:2] for image in batch],
                )
            )
        return {
            name: np.concatenate([part[name] for part in parts])
            for name in parts[0]
        }

    def view(self, image: np.ndarray) -> np.ndarray:
        """The square that the model sees of an image.

        Args:
            image: uint8 `[H, W, 3]`, at least 2 x 2 pixels.

        Returns:
            float32 `[S, S, 3]` in [0, 1].

        Raises:
            ValueError: if the image is of another shape or type.
        """
        if (
            image.dtype != np.uint8
            or image.ndim != 3
            or image.shape[2] != 3
            or min(image.shape[:2]) < 2
        ):
            raise ValueError(
                "an image must be uint8 [H, W, 3], at least 2 x 2 pixels; got"
                f" {image.dtype} {list(image.shape)}"
            )
        pixels = tf.cast(image, tf.float32) / 255.0
        return views.square(pixels, self._config).numpy()

    def in_views(
        self, square_views: np.ndarray, sizes: Sequence[tuple[int, int]]
    ) -> dict[str, np.ndarray]:
        """Finds the landmarks of images by their views, in one batch.

        For callers that read images one by one and cannot hold them all.

        Args:
            square_views: float32 `[N, S, S, 3]`, stacked answers of `view`.
            sizes: (height, width) of each image, pixels.

        Returns:
            As of a call: fractions of the images, not of their views.
        """
        found = self._find(square_views)
        landmarks = self._out_of_view(found["landmarks"], sizes)
        confidence = np.asarray(found["confidence"], np.float32)
        return {
            "landmarks": np.clip(landmarks, 0.0, 1.0),
            "confidence": np.clip(confidence, 0.0, 1.0),
        }

    def keypoints(
        self, landmarks: np.ndarray, sizes: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Named keypoints of images from their landmarks.

        Args:
            landmarks: `[N, K, 2]`, as answered.
            sizes: (height, width) of each image, pixels.

        Returns:
            float32 `[N, P, 2]`, (x, y), fractions as of landmarks. They are not
            clipped: a linear map may well place a keypoint outside the image,
            below 0 or above 1, where the rest of the object would be.

        Raises:
            ValueError: if the detector has no keypoint map.
        """
        if self.keypoint_map is None:
            raise ValueError("this detector has no map to named keypoints")
        each_size = np.reshape(sizes, [-1, 1, 2])
        points_px = coords.to_pixels(
            coords.from_xy_fractions(np.asarray(landmarks, np.float32)),
            each_size,
        )
        in_view = views.points_to_square(points_px, each_size, self._config)
        return self._out_of_view(self.keypoint_map(in_view.numpy()), sizes)

    def _out_of_view(
        self, points: np.ndarray, sizes: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """From (y, x), normalised in the view, to fractions of the images."""
        each_size = np.reshape(sizes, [-1, 1, 2])
        points_px = views.points_from_square(points, each_size, self._config)
        whole = coords.from_pixels(points_px, each_size)
        return coords.to_xy_fractions(whole).numpy()


def load_detector(path: str | os.PathLike, batch_size: int = 32) -> Detector:
    """Loads a detector in whatever form it is kept.

    Args:
        path: a run's folder, whose newest checkpoint is taken; or a SavedModel
            of export.py, the folder of its versions (the newest is taken) or
            the folder that export.py wrote; or its .onnx file, or a .tflite
            file, which computes one image at a time.
        batch_size: images that go through the model at once.

    Returns:
        The detector. It has a keypoint map if `path` is a run with one: an
        export may be older than the run's map.

    Raises:
        errors.UserError: if there is no usable detector at `path`.
    """
    path = pathlib.Path(path)
    if path.is_file() and path.suffix in _FILES:
        return Detector(*_of_file(path), batch_size=batch_size)
    if path.is_dir():
        if (config := _config_of_run(path)) is not None:
            return _of_run(path, config, batch_size)
        if (folder := _saved_model_in(path)) is not None:
            return Detector(*_of_saved_model(folder), batch_size=batch_size)
    problem = "is no model" if path.exists() else "does not exist"
    raise errors.UserError(
        f"{path} {problem}; give the folder of a run, or a SavedModel, .tflite"
        " or .onnx file of export.py"
    )


def _config_of_run(path: pathlib.Path) -> configs.Config | None:
    try:
        return checkpoints.load_config(str(path))
    except FileNotFoundError:
        return None


def _of_run(
    path: pathlib.Path, config: configs.Config, batch_size: int
) -> Detector:
    if config.model.bottleneck == "fully_connected":
        raise errors.UserError(
            f"{path} has no landmarks: it was trained with"
            " model.bottleneck=fully_connected; give a run with"
            " model.bottleneck=heatmap"
        )
    model = landmark_model.LandmarkModel(config.model)
    try:
        checkpoints.restore_model(str(path), model)
    except FileNotFoundError as error:
        raise errors.UserError(str(error)) from error
    size = config.model.image_size

    @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3])])
    def detect(images):
        found = model.detect(images)
        return {name: found[name] for name in ("landmarks", "confidence")}

    def find(images: np.ndarray) -> dict[str, np.ndarray]:
        return {name: part.numpy() for name, part in detect(images).items()}

    keypoint_map = keypoint_maps.load(
        checkpoints.keypoint_map_path(str(path)),
        config.model.num_landmarks,
        keypoint_maps.fingerprint(model.detector.get_weights()),
    )
    return Detector(find, config, keypoint_map, batch_size)


def _of_saved_model(folder: pathlib.Path) -> tuple[Find, configs.Config]:
    config = saved_model.read_view(folder)
    try:
        run = saved_model.load(folder)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise errors.UserError(
            f"{folder} is damaged; export the run again with python export.py"
        ) from error
    # The model takes whole images. A view with a border around it is one
    # whose view it is, so the model sees images of a single size.
    full, size = views.full_size(config), config.model.image_size
    before = (full - size) // 2
    border = (before, full - size - before)

    def find(images: np.ndarray) -> dict[str, np.ndarray]:
        found = run(np.pad(images, [(0, 0), border, border, (0, 0)]))
        points_px = coords.to_pixels(
            coords.from_xy_fractions(found["landmarks"]), (full, full)
        )
        in_view = views.points_to_square(points_px, (full, full), config)
        return {
            "landmarks": in_view.numpy(),
            "confidence": found["confidence"],
        }

    return find, config


def _of_file(path: pathlib.Path) -> tuple[Find, configs.Config]:
    form = _FILES[path.suffix]
    try:
        run = form.load(path)
    except errors.UserError:  # Of a missing package.
        raise
    except ValueError as error:
        raise errors.UserError(
            f"{path} is damaged or of another kind of model; export the run"
            " again with python export.py"
        ) from error
    config = form.read_view(path)

    def find(images: np.ndarray) -> dict[str, np.ndarray]:
        found = run(images)
        points = coords.from_xy_fractions(found["landmarks"])
        return {"landmarks": points, "confidence": found["confidence"]}

    return find, config


def _saved_model_in(path: pathlib.Path) -> pathlib.Path | None:
    """The SavedModel at `path`, or the newest version in it or its export."""
    for parent in (path, path / "saved_model"):
        versions = [
            folder for folder in parent.glob("*") if folder.name.isdecimal()
        ]
        versions.sort(key=lambda folder: int(folder.name), reverse=True)
        for folder in (parent, *versions):
            if (folder / "saved_model.pb").is_file():
                return folder
    return None
