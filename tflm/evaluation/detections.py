"""Runs a trained model over a dataset."""

import dataclasses
import sys

import numpy as np
import tensorflow as tf
import tqdm

from tflm import configs
from tflm.data import shards as shards_lib
from tflm.data import stills
from tflm.data import views
from tflm.data import warps
from tflm.models import landmark_model

_WARP_SEED = 0
_MOMENTS_IMAGES = 64  # For the batch normalisation of an untrained model.


@dataclasses.dataclass(frozen=True)
class Detections:
    """Landmarks of N images beside their annotations, and M of the images."""

    landmarks: np.ndarray  # float32 [N, K, 2], (y, x), normalised.
    confidence: np.ndarray | None  # float32 [N, K]; None of a code.
    untrained: np.ndarray | None  # As landmarks, of another model.
    annotations: np.ndarray  # float32 [N, P, 2], likewise; NaN where missing.
    sizes: np.ndarray  # int [N, 2]: (height, width) as stored, pixels.
    scales: np.ndarray  # float32 [N, 2], (y, x): stored over original size.
    clip_ids: np.ndarray  # str [N].
    videos: np.ndarray  # str [N]: the same of frames that belong together.
    index: np.ndarray  # int64 [N]: position in the video, 0 of stills.
    factors: dict[str, np.ndarray]  # int64 [N]: the dataset's own.
    images: np.ndarray  # float32 [M, S, S, 3] in [0, 1].
    shown: np.ndarray  # int64 [M]: which of the N the images are.


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of images of one object in two geometries."""

    source: np.ndarray  # float32 [N, S, S, 3] in [0, 1].
    target: np.ndarray  # As `source`.
    is_video: np.ndarray  # bool [N]: two frames; if not, two warps of a still.


def untrained_model(
    config: configs.Config, shards: shards_lib.Shards, role: str
) -> landmark_model.LandmarkModel:
    """The model as training starts with it: random weights of the run's seed.

    Batch normalisation gets the moments of a few images, as at a first step.
    With the moments it is initialised with, mean 0 and variance 1, the scores
    of weights of size 0.01 vanish and all landmarks stay in the centre.

    Args:
        config: of the run.
        shards: the images' dataset.
        role: of the images.

    Returns:
        The model.
    """
    tf.keras.utils.set_random_seed(config.train.seed)
    model = landmark_model.LandmarkModel(config.model)
    batches = stills.stills(config, shards, role, _MOMENTS_IMAGES)
    images = next(iter(batches))["image"]
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model((images, images), training=True)
    return model


def detect(
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    shards: shards_lib.Shards,
    role: str,
    *,
    untrained: landmark_model.LandmarkModel | None = None,
    num_shown: int = 0,
    max_images: int | None = None,
) -> Detections:
    """Finds the landmarks of the images of a role, in their fixed order.

    Args:
        model: with trained weights.
        config: that of the model.
        shards: any dataset.
        role: of the images, "train" for instance.
        untrained: a second model, run on the same images.
        num_shown: images to keep, the first of as many clips.
        max_images: stop at the end of the batch that reaches it.

    Returns:
        All landmarks and annotations, and the images kept.

    Raises:
        errors.UserError: if the dataset has no images for `role`.
    """
    size = config.model.image_size

    @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3])])
    def find(images):
        detected = model.detect(images)
        kept = ("landmarks", "confidence")
        answers = {name: detected[name] for name in kept if name in detected}
        if untrained is not None:
            answers["untrained"] = untrained.detect(images)["landmarks"]
        return answers

    parts, kept, shown = [], [], []
    seen: set[bytes] = set()
    count = 0
    with tqdm.tqdm(
        desc=f"landmarks of {shards.builder.name}, {role}",
        total=shards.num_clips(role),
        unit="clip",
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
    ) as progress:
        for batch in stills.stills(config, shards, role).as_numpy_iterator():
            images = batch.pop("image")
            found = {name: part.numpy() for name, part in find(images).items()}
            parts.append(batch | found)
            for position, clip_id in enumerate(batch["clip_id"]):
                if clip_id not in seen and len(shown) < num_shown:
                    kept.append(images[position])
                    shown.append(count + position)
                seen.add(clip_id)
            count += len(batch["clip_id"])
            progress.update(len(seen) - progress.n)
            if max_images is not None and count >= max_images:
                break
    whole = {
        name: np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }
    return Detections(
        landmarks=whole.pop("landmarks"),
        confidence=whole.pop("confidence", None),
        untrained=whole.pop("untrained", None),
        annotations=whole.pop("keypoints"),
        sizes=whole.pop("size"),
        scales=whole.pop("scale"),
        clip_ids=_text(whole.pop("clip_id")),
        videos=_text(whole.pop("video")),
        index=whole.pop("index"),
        factors=whole,
        images=np.array(kept, np.float32).reshape(-1, size, size, 3),
        shown=np.array(shown, np.int64),
    )


def images_at(
    config: configs.Config,
    shards: shards_lib.Shards,
    role: str,
    positions: np.ndarray,
) -> np.ndarray:
    """Some of the images that `detect` looks at.

    Args:
        config: sizes of the view.
        shards: any dataset.
        role: of the images.
        positions: int `[M]`, which of the images, in any order.

    Returns:
        float32 `[M, S, S, 3]` in [0, 1].
    """
    wanted = set(np.asarray(positions).tolist())
    found, count = {}, 0
    for batch in stills.stills(config, shards, role).as_numpy_iterator():
        images = batch["image"]
        for position in wanted & set(range(count, count + len(images))):
            found[position] = images[position - count]
        count += len(images)
        if len(found) == len(wanted):
            break
    return np.stack([found[position] for position in positions.tolist()])


def _text(encoded: np.ndarray) -> np.ndarray:
    return np.char.decode(encoded.astype(bytes), "utf-8")


def example_pairs(
    config: configs.Config,
    shards: shards_lib.Shards,
    role: str,
    num_pairs: int,
) -> Pairs:
    """Pairs of the first clips of a role; the same ones every time.

    A clip of several frames gives its first frame as the source and as the
    target the latest frame that `data.max_gap` allows. A still is warped
    twice, as in training; if the config has no warps, as the released code
    does.

    Args:
        config: sizes, gaps and warps.
        shards: any dataset.
        role: of the clips.
        num_pairs: at most; fewer if there are fewer clips.

    Returns:
        The pairs, one per clip.

    Raises:
        errors.UserError: if the dataset has no images for `role`.
    """
    source, target, is_video = [], [], []
    for number, clip in enumerate(shards.clips(role).take(num_pairs)):
        frames = clip["frames"]
        later = _later_frame(frames["index"].numpy(), config.data)
        first = _view(frames["image"][0], config)
        if later is None:
            pair = _warped_twice(first, config, number)
        else:
            pair = first, _view(frames["image"][later], config)
        source.append(pair[0].numpy())
        target.append(pair[1].numpy())
        is_video.append(later is not None)
    return Pairs(np.stack(source), np.stack(target), np.array(is_video))


def _view(encoded: tf.Tensor, config: configs.Config) -> tf.Tensor:
    return views.square(shards_lib.decode(encoded), config)


def _later_frame(index: np.ndarray, config: configs.DataConfig) -> int | None:
    gaps = index - index[0]
    allowed = (gaps >= config.min_gap) & (gaps <= config.max_gap)
    return int(np.argmax(np.where(allowed, gaps, 0))) if allowed.any() else None


def _warped_twice(
    image: tf.Tensor, config: configs.Config, number: int
) -> tuple[tf.Tensor, tf.Tensor]:
    warp_configs = config.source_warp, config.target_warp
    if warp_configs == (configs.NO_WARP,) * 2:
        warp_configs = (
            configs.RELEASED_SOURCE_WARP,
            configs.RELEASED_TARGET_WARP,
        )
    source_warp, target_warp = (
        warps.random_coefficients(warp, 1, tf.constant([_WARP_SEED, seed]))
        for warp, seed in zip(warp_configs, (2 * number, 2 * number + 1))
    )
    target = warps.warp(image[None], target_warp)
    return warps.warp(target, source_warp)[0], target[0]
