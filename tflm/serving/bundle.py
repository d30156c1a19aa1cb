"""All that an export consists of: written, checked and then published.

saved_model/N/            For TF Serving, which polls saved_model/.
detector.tflite           In float32.
detector_KIND.tflite      In other kinds of numbers; see `quantization`.
detector.onnx             In float32, if it is asked for.
export.json               What is here and how well it agrees with Keras.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm import files
from tflm.data import shards as shards_lib
from tflm.data import views
from tflm.evaluation import keypoint_maps
from tflm.evaluation import scores
from tflm.models import landmark_model
from tflm.serving import agreement
from tflm.serving import detector
from tflm.serving import onnx_file
from tflm.serving import publishing
from tflm.serving import quantization
from tflm.serving import saved_model
from tflm.serving import tflite

CHECKED = ("val", "test", "regression_test", "regression_train", "train")
CALIBRATION = ("train", "regression_train", "val", "test", "regression_test")

_REPORT = "export.json"

_Pair = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Exported:
    """One exported model, as it was found to be."""

    name: str  # Below the output folder.
    num_bytes: int
    milliseconds: float  # Median of a call with one image.
    mean_px: float  # From Keras; see `agreement.Agreement`.
    worst_px: float
    max_px: float
    difference: float


def sample_images(
    shards: shards_lib.Shards,
    num_images: int = 64,
    roles: Sequence[str] = CHECKED,
    shuffle_seed: int | None = None,
) -> list[np.ndarray]:
    """Real images of a dataset.

    Args:
        shards: of the dataset.
        num_images: at most so many.
        roles: the first that the dataset has is taken: `CHECKED` for images
            that the model was not trained on, `CALIBRATION` for others.
        shuffle_seed: of the order; None: the first ones.

    Returns:
        Images, one a clip, each uint8 `[H, W, 3]`, as stored.

    Raises:
        errors.UserError: if the dataset has no images at all.
    """
    for role in roles:
        with contextlib.suppress(errors.UserError):
            clips = shards.clips(role, shuffle_seed).take(num_images)
            break
    else:
        shards.num_clips(roles[-1])  # Raises.
    decoded = (shards_lib.decode(clip["frames"]["image"][0]) for clip in clips)
    with shards_lib.naming_damage(shards):
        return [np.rint(image * 255.0).astype(np.uint8) for image in decoded]


def export(
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    images: Sequence[np.ndarray],
    output_dir: str,
    *,
    keypoint_map: keypoint_maps.KeypointMap | None = None,
    kinds: Sequence[str] = ("float32",),
    calibration_images: Iterable[np.ndarray] = (),
    onnx: bool = False,
    keep_versions: int = 2,
    origin: Mapping[str, object] | None = None,
) -> list[Exported]:
    """Exports `model`, if all that is exported answers as it does.

    Args:
        model: a trained model in float32.
        config: its experiment.
        images: uint8 `[H, W, 3]` of any sizes, at least one, to compare on.
        output_dir: an earlier export there gets a new version, and its files
            are replaced; on any failure it stays as it was.
        keypoint_map: fitted to its landmarks, if there is one.
        kinds: of .tflite files, of `quantization.KINDS`.
        calibration_images: as `images`, for the kind int8.
        onnx: whether to write an ONNX file as well.
        keep_versions: versions of the SavedModel that stay, at least 1.
        origin: what export.json says of where the model comes from.

    Returns:
        What was written.

    Raises:
        errors.UserError: if the model has no landmarks, an exported model
            differs from Keras by more than `agreement.TOLERANCES`, a kind is
            unknown, a package for ONNX is missing, or `output_dir` cannot be
            written.
    """
    if config.model.bottleneck == "fully_connected":
        raise errors.UserError(
            "model.bottleneck=fully_connected has no landmarks to export; train"
            " with --set model.bottleneck=heatmap"
        )
    for kind in kinds:
        if kind not in quantization.KINDS:
            raise errors.UserError(
                f"--quantize: unknown kind {kind!r}; choose from"
                f" {','.join(quantization.KINDS)}"
            )
    if keep_versions < 1:
        raise errors.UserError(
            f"--keep_versions must be at least 1, got {keep_versions}"
        )
    if onnx:
        onnx_file.check_packages()
    file_names = [tflite.file_name(kind) for kind in quantization.KINDS]
    with publishing.staged(
        output_dir,
        keep_versions,
        mark=saved_model.VIEW,
        superseded=[*file_names, onnx_file.NAME],
    ) as folder:
        name = f"{publishing.VERSIONS}/{publishing.next_version(output_dir)}"
        try:
            saved_model.write(folder / name, model, config, keypoint_map)
        except tf.errors.OpError as error:  # So TensorFlow says: disk full.
            raise OSError(error.message.rpartition("; ")[2]) from error
        exports = [
            _checked_saved_model(
                folder, name, model, config, images, keypoint_map
            )
        ]
        calibration_views = [
            _view(image, config) for image in calibration_images
        ]
        for kind in dict.fromkeys(kinds):
            file = folder / tflite.file_name(kind)
            tflite.write(
                file, model, config, kind, keypoint_map, calibration_views
            )
            run = tflite.load(file)
            exports.append(
                _checked_file(file, kind, run, model, config, images)
            )
        if onnx:
            file = folder / onnx_file.NAME
            onnx_file.write(file, model, config, keypoint_map)
            run = onnx_file.load(file)
            exports.append(
                _checked_file(file, "float32", run, model, config, images)
            )
        files.write_json(
            folder / _REPORT,
            {**(origin or {}), **_report(exports, config, len(images))},
        )
    return exports


def _checked_saved_model(
    folder: pathlib.Path,
    name: str,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    images: Sequence[np.ndarray],
    keypoint_map: keypoint_maps.KeypointMap | None,
) -> Exported:
    """Runs what finds landmarks on all images and the rest on one."""
    call = saved_model.open_signatures(folder / name)

    def pair(image: np.ndarray) -> Iterable[_Pair]:
        expected = _numpy(detector.detect(image[None], model, config))
        floats = image[None].astype(np.float32) / np.float32(255.0)
        yield call("serving_default", images=image[None]), expected
        yield call("serving_float", images=floats), expected
        png = tf.io.encode_png(image)[None]
        yield call("predict_bytes", image_bytes=png), expected

    def others(image: np.ndarray) -> Iterable[_Pair]:
        found = _numpy(
            detector.detect_with_heatmaps(image[None], model, config)
        )
        yield call("heatmaps", images=image[None]), found
        pictures = detector.reconstruct(image[None], image[None], model, config)
        inputs = {"style_images": image[None], "geometry_images": image[None]}
        yield call("reconstruct", **inputs), _numpy(pictures)
        if keypoint_map is not None:
            found = detector.find_keypoints(
                image[None], model, config, keypoint_map
            )
            numbers = {key: found[key] for key in ("keypoints", "confidence")}
            yield call("keypoints", images=image[None]), _numpy(numbers)

    pairs = [answers for image in images for answers in pair(image)]
    pairs += others(images[0])
    fraction = config.model.image_size / views.full_size(config)
    return _exported(
        folder / name,
        name,
        "float32",
        agreement.compare(pairs, fraction),
        agreement.milliseconds(
            lambda: call("serving_default", images=images[0][None])
        ),
    )


def _checked_file(
    file: pathlib.Path,
    kind: str,
    run: agreement.Run,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    images: Sequence[np.ndarray],
) -> Exported:
    """Runs a file, and Keras, on the views of all images."""

    def pair(view: np.ndarray) -> _Pair:
        return run(view), _numpy(detector.detect_in_view(view, model))

    square_views = [_view(image, config) for image in images]
    return _exported(
        file,
        file.name,
        kind,
        agreement.compare(map(pair, square_views)),
        agreement.milliseconds(lambda: run(square_views[0])),
    )


def _exported(
    path: pathlib.Path,
    name: str,
    kind: str,
    found: agreement.Agreement,
    milliseconds: float,
) -> Exported:
    """Puts together what was found, if it is not too bad."""
    if beyond := found.beyond(agreement.TOLERANCES[kind]):
        raise errors.UserError(
            f"{name} differs from Keras {beyond}; nothing was exported"
        )
    inside = [path, *path.rglob("*")]
    num_bytes = sum(file.stat().st_size for file in inside if file.is_file())
    return Exported(name, num_bytes, milliseconds, **dataclasses.asdict(found))


def _view(image: np.ndarray, config: configs.Config) -> np.ndarray:
    """Float32 `[1, S, S, 3]`."""
    floats = image[None].astype(np.float32) / np.float32(255.0)
    return views.square(floats, config).numpy()


def _numpy(answer: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: output.numpy() for name, output in answer.items()}


def _report(
    exports: Sequence[Exported], config: configs.Config, num_images: int
) -> dict:
    return {
        "dataset": config.data.dataset,
        "frame_crop": config.data.frame_crop,
        "num_images": num_images,
        "view_size_px": scores.VIEW_SIZE,
        "tensorflow": tf.__version__,
        "exports": [dataclasses.asdict(export) for export in exports],
    }
