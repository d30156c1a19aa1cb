"""Training batches: pairs of images of one object in two geometries."""

import logging

import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm.data import color_jitter
from tflm.data import shards as shards_lib
from tflm.data import views
from tflm.data import warps

Batch = dict[str, tf.Tensor]
_log = logging.getLogger(__name__)
_CACHE_BYTES = 2**30  # Square views are kept in memory if all fit into this.
_NUM_AZIMUTHS = 18  # Once round an object.


def train_batches(
    config: configs.Config,
    shards: shards_lib.Shards,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Endless batches for training.

    The same config and `first_step` give the same batches; a run resumed at
    another step sees another order.

    Args:
        config: the experiment.
        shards: clips of `config.data.dataset`.
        first_step: the step that the first batch is for.

    Returns:
        Batches of `source` and `target`, float32 `[B, S, S, 3]` in [0, 1];
        `seen`, the target in the colours that the detector sees it in; and
        `mask`, float32 `[B, S, S, 1]`: how much each target pixel counts. For
        a loss with equivariance also `view`, a warp of the target as the
        detector sees it, and `view_warp`, its coefficients.

    Raises:
        errors.UserError: if pairs of frames are asked for that no clip has.
    """
    seed = tf.random.fold_in(
        tf.constant([config.train.seed, 0], tf.int32), first_step
    )
    clips = shards.clips("train", shuffle_seed=config.train.seed + first_step)
    frames = clips.map(lambda clip: clip["frames"])
    if config.data.pairs != "tps":
        frames = _with_pairs(frames, config.data)
    size, num_frames = config.model.image_size, shards.num_frames("train")
    if num_frames * size * size * 3 <= _CACHE_BYTES:
        _log.info("decoding %d frames into memory", num_frames)
        frames = frames.map(
            lambda clip: {**clip, "image": _views_of_all(clip, config)},
            num_parallel_calls=tf.data.AUTOTUNE,
        ).cache()
        # Now, so that memory does not grow during the first epoch.
        frames.reduce(0, lambda count, _: count + 1)
    # Else encoded frames, which are small, are shuffled, and decoded if used.
    shuffle_seed = config.train.seed + first_step
    frames = frames.shuffle(config.data.shuffle_buffer, seed=shuffle_seed)
    examples = tf.data.Dataset.zip(frames.repeat(), tf.data.Dataset.counter())
    batches = (
        examples.map(
            lambda clip, index: _pair(
                clip, tf.random.fold_in(seed, index), config
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(config.train.batch_size, drop_remainder=True)
        .enumerate()
        .map(
            lambda index, batch: _finished(
                batch, tf.random.fold_in(seed, -1 - index), config
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    )
    return batches.prefetch(2)


def _with_pairs(
    clips: tf.data.Dataset, config: configs.DataConfig
) -> tf.data.Dataset:
    """Leaves out the clips that have no pair of frames.

    Raises:
        errors.UserError: if no clip is left.
    """
    missing = {"azimuth", "elevation"} - set(clips.element_spec)
    if config.pairs == "viewpoint" and missing:
        raise errors.UserError(
            f"{config.dataset} does not tell {' and '.join(sorted(missing))} of"
            " its frames; use --set data.pairs=video, or tps"
        )
    clips = clips.filter(
        lambda frames: tf.reduce_any(_gaps_allowed(frames, config))
    )
    if not list(clips.take(1).as_numpy_iterator()):
        what = "viewpoints" if config.pairs == "viewpoint" else "frames"
        raise errors.UserError(
            f"no clip of {config.dataset} has two {what} {config.min_gap} to"
            f" {config.max_gap} apart; for stills use --set data.pairs=tps"
        )
    return clips


def _gaps_allowed(frames: Batch, config: configs.DataConfig) -> tf.Tensor:
    """bool `[T, T]`: which two frames of a clip are the right gap apart.

    Two viewpoints are as far apart as their azimuths, the short way round, or
    as their elevations, whichever is more; both in steps.
    """

    def distance(name):
        return tf.abs(frames[name][:, None] - frames[name][None, :])

    if config.pairs == "viewpoint":
        around = distance("azimuth")
        around = tf.minimum(around, _NUM_AZIMUTHS - around)
        gap = tf.maximum(around, distance("elevation"))
    else:
        gap = distance("index")
    return (gap >= config.min_gap) & (gap <= config.max_gap)


def _pair(frames: Batch, seed: tf.Tensor, config: configs.Config) -> Batch:
    """Chooses the source and target of one example; uint8 views."""

    def view(position):
        image = frames["image"][position]
        if image.dtype == tf.string:
            return _view(image, config)
        return image

    if config.data.pairs == "tps":
        num_frames = tf.shape(frames["index"])[0]
        position = tf.random.stateless_uniform(
            [], seed, 0, num_frames, dtype=tf.int32
        )
        target = view(position)
        return {"source": target, "target": target}
    pairs = tf.where(_gaps_allowed(frames, config.data))  # [n, 2]
    chosen = tf.random.stateless_uniform(
        [], seed, 0, tf.shape(pairs)[0], dtype=tf.int32
    )
    return {
        "source": view(pairs[chosen, 0]),
        "target": view(pairs[chosen, 1]),
    }


def _view(encoded: tf.Tensor, config: configs.Config) -> tf.Tensor:
    """uint8 `[S, S, 3]`."""
    image = views.square(shards_lib.decode(encoded), config)
    return tf.cast(tf.round(image * 255.0), tf.uint8)


def _views_of_all(frames: Batch, config: configs.Config) -> tf.Tensor:
    """uint8 `[T, S, S, 3]`, the views of a whole clip."""
    return tf.map_fn(
        lambda encoded: _view(encoded, config),
        frames["image"],
        fn_output_signature=tf.TensorSpec(
            [config.model.image_size, config.model.image_size, 3], tf.uint8
        ),
    )


def _finished(batch: Batch, seed: tf.Tensor, config: configs.Config) -> Batch:
    """Warps the pairs and adds the targets as the detector sees them."""
    batch, source_warp = _warp_pair(batch, seed, config)
    # Seeds of their own: not one that a warp was drawn with.
    colors, view_colors, view = (tf.random.fold_in(seed, i) for i in (1, 2, 3))

    def recolored(images, color_seed):
        amount = config.data.color_jitter
        if not amount:
            return images
        return color_jitter.color_jitter(images, amount, color_seed)

    batch["seen"] = recolored(batch["target"], colors)
    if config.loss.equivariance_weight:
        if config.view_warp == configs.NO_WARP:
            image, warp = batch["source"], source_warp
        else:
            warp = warps.random_coefficients(
                config.view_warp, config.train.batch_size, view
            )
            image = warps.warp(batch["target"], warp, config.data.warp_fill)
        batch["view"], batch["view_warp"] = recolored(image, view_colors), warp
    return batch


def _warp_pair(
    batch: Batch, seed: tf.Tensor, config: configs.Config
) -> tuple[Batch, tf.Tensor | None]:
    """Warps source and target.

    For stills, `data.still_pairs` says what the source is a warp of: the target
    ("chained", released code) or the still ("independent", paper).

    Also answers with the coefficients of the source's warp, if there is one.
    """
    batch_size, size = config.train.batch_size, config.model.image_size
    source, target = (
        tf.cast(batch[name], tf.float32) / 255.0
        for name in ("source", "target")
    )
    if (config.target_warp, config.source_warp) == (configs.NO_WARP,) * 2:
        mask = tf.ones([batch_size, size, size, 1])
        return {"source": source, "target": target, "mask": mask}, None
    mask = tf.tile(
        warps.border_mask(size)[None], [batch_size, 1, 1, 1]
    )  # [B, S, S, 1]
    seeds = tf.unstack(tf.random.split(seed, 2), num=2)
    target_warp, source_warp = (
        warps.random_coefficients(warp, batch_size, part)
        for warp, part in zip((config.target_warp, config.source_warp), seeds)
    )
    fill = config.data.warp_fill
    warped = warps.warp(tf.concat([target, mask], axis=-1), target_warp, fill)
    target, mask = warped[..., :3], warped[..., 3:]
    is_chained = config.data.still_pairs == "chained"
    if config.data.pairs == "tps" and is_chained:
        source = target
    source = warps.warp(source, source_warp, fill)
    return {"source": source, "target": target, "mask": mask}, source_warp
