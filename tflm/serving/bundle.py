"""All that an export consists of: written, checked and put in place at once.

saved_model/1/     For TF Serving: its folder of versions is saved_model/.
detector.tflite
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import pathlib
import tempfile
import time

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm.data import shards as shards_lib
from tflm.data import views
from tflm.models import landmark_model
from tflm.serving import detector
from tflm.serving import saved_model
from tflm.serving import tflite

SAVED_MODEL, TFLITE = "saved_model/1", "detector.tflite"
LARGEST_DIFFERENCE = 1e-3  # From Keras; fractions of the image, confidences.

_ROLES = ("val", "test", "regression_test", "regression_train", "train")
_TIMED_RUNS = 20

_Answer = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Exported:
    """One exported model, as it was found to be."""

    name: str  # Below the output folder.
    num_bytes: int
    difference: float  # Largest from Keras, over all images and outputs.
    milliseconds: float  # Median of a call with one image.


def sample_images(
    shards: shards_lib.Shards, num_images: int = 8
) -> list[np.ndarray]:
    """Real images of a dataset, of its validation images if it has some.

    Returns:
        At most `num_images`, one a clip, each uint8 `[H, W, 3]`, as stored.

    Raises:
        errors.UserError: if the dataset has no images at all.
    """
    for role in _ROLES:
        with contextlib.suppress(errors.UserError):
            clips = shards.clips(role).take(num_images)
            break
    else:
        shards.num_clips(_ROLES[-1])  # Raises.
    decoded = (shards_lib.decode(clip["frames"]["image"][0]) for clip in clips)
    return [np.rint(image * 255.0).astype(np.uint8) for image in decoded]


def export(
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    images: Sequence[np.ndarray],
    output_dir: str,
) -> list[Exported]:
    """Exports the detector of `model`, if the exports answer as it does.

    Args:
        model: a trained model in float32.
        config: its experiment.
        images: uint8 `[H, W, 3]` of any sizes, at least one, to compare on.
        output_dir: an earlier export there is replaced; on any failure it
            stays as it was.

    Returns:
        What was written.

    Raises:
        errors.UserError: if the model has no landmarks, an exported model
            differs from Keras, or `output_dir` cannot be written or holds
            anything but an export.
    """
    if config.model.bottleneck == "fully_connected":
        raise errors.UserError(
            "model.bottleneck=fully_connected has no landmarks to export; train"
            " with --set model.bottleneck=heatmap"
        )
    with _replacing(pathlib.Path(output_dir)) as folder:
        try:
            saved_model.write(folder / SAVED_MODEL, model, config)
            tflite.write(folder / TFLITE, model, config)
        except tf.errors.OpError as error:  # So TensorFlow says: disk full.
            raise OSError(error.message.rpartition("; ")[2]) from error
        exports = _check(folder, model, config, images)
        different = [
            f"{export.name} by {export.difference:.2g}"
            for export in exports
            if not export.difference <= LARGEST_DIFFERENCE  # NaN differs.
        ]
        if different:
            raise errors.UserError(
                f"differs from Keras: {', '.join(different)}, more than"
                f" {LARGEST_DIFFERENCE:g}; nothing was exported"
            )
    return exports


def _check(
    folder: pathlib.Path,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    images: Sequence[np.ndarray],
) -> list[Exported]:
    """Runs the models in `folder` and Keras on the same images."""
    pixels = [image[None] for image in images]
    floats = [image.astype(np.float32) / np.float32(255.0) for image in pixels]
    squares = [views.square(image, config).numpy() for image in floats]

    def of_image(image):
        return detector.detect(tf.constant(image), model, config)

    def of_view(image):
        return detector.detect_in_view(tf.constant(image), model)

    return [
        Exported(
            name,
            _size(folder / name),
            _compare(run, keras, batches),
            _milliseconds(run, batches[0]),
        )
        for name, run, keras, batches in (
            (
                SAVED_MODEL,
                saved_model.load(folder / SAVED_MODEL),
                of_image,
                pixels + floats,
            ),
            (TFLITE, tflite.load(folder / TFLITE), of_view, squares),
        )
    ]


def _compare(
    exported: Callable[[np.ndarray], _Answer],
    keras: Callable[[np.ndarray], dict[str, tf.Tensor]],
    batches: Sequence[np.ndarray],
) -> float:
    """The largest difference of any output on any batch; NaN if one is NaN."""
    differences = []
    for batch in batches:
        expected, answer = keras(batch), exported(batch)
        differences += [
            np.max(np.abs(answer[name] - expected[name].numpy()))
            for name in expected
        ]
    return float(np.max(differences))


def _milliseconds(
    run: Callable[[np.ndarray], _Answer], images: np.ndarray
) -> float:
    seconds = []
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        run(images)
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))


def _size(path: pathlib.Path) -> int:
    files = [path, *path.rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file())


@contextlib.contextmanager
def _replacing(output_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a new folder that becomes `output_dir` once the block succeeds."""
    output_dir = output_dir.resolve()
    _refuse_other_files(output_dir)
    try:
        # On the same disk, so that it can be renamed.
        nearest = next(path for path in output_dir.parents if path.exists())
        with tempfile.TemporaryDirectory(
            prefix=f".{output_dir.name}-", dir=nearest
        ) as scratch:
            new = pathlib.Path(scratch) / "new"
            new.mkdir()
            yield new
            output_dir.parent.mkdir(parents=True, exist_ok=True)
            _exchange(new, output_dir, pathlib.Path(scratch) / "earlier")
    except OSError as error:
        reason = error.strerror or error
        raise errors.UserError(
            f"cannot write {output_dir}: {reason}; choose another --output_dir"
        ) from error


def _refuse_other_files(output_dir: pathlib.Path) -> None:
    """Makes sure that replacing `output_dir` loses nothing but an export."""
    if not output_dir.exists():
        return
    if not output_dir.is_dir():
        raise errors.UserError(
            f"{output_dir} is a file; choose another --output_dir"
        )
    inside = [*output_dir.glob("*"), *output_dir.glob("saved_model/*")]
    names = {path.relative_to(output_dir).as_posix() for path in inside}
    if other := sorted(names - {"saved_model", SAVED_MODEL, TFLITE}):
        raise errors.UserError(
            f"{output_dir} holds other files than an export ({other[0]});"
            " choose a new folder as --output_dir"
        )


def _exchange(
    new: pathlib.Path, output_dir: pathlib.Path, earlier: pathlib.Path
) -> None:
    """Renames `new` to `output_dir`, and what was there to `earlier`."""
    try:
        if output_dir.exists():
            output_dir.rename(earlier)
        new.rename(output_dir)
    except BaseException:
        if earlier.exists() and not output_dir.exists():
            earlier.rename(output_dir)
        raise
