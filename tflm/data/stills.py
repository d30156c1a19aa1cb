"""Single images with their annotations, in a fixed order, for evaluation."""

import tensorflow as tf

from tflm import configs
from tflm.data import shards as shards_lib
from tflm.data import views


def stills(
    config: configs.Config,
    shards: shards_lib.Shards,
    role: str,
    batch_size: int = 64,
) -> tf.data.Dataset:
    """Every frame of a role's clips once.

    Args:
        config: sizes of the view.
        shards: any dataset, not only `config.data.dataset`.
        role: of the images, "train" for instance.
        batch_size: of all batches but the last.

    Returns:
        Batches of `image`, float32 `[B, S, S, 3]` in [0, 1]; `keypoints`,
        float32 `[B, P, 2]`, (y, x), normalised, NaN where missing; `size`,
        int32 `[B, 2]`, (height, width) of the stored image, pixels; and as in
        `Shards.clips`: `clip_id` and `video`, strings `[B]`, `index`, int64
        `[B]`, `scale`, float32 `[B, 2]`, and the dataset's own factors.

    Raises:
        errors.UserError: if the dataset has no images for `role`.
    """

    def view(frame):
        image = shards_lib.decode(frame.pop("image"))
        size = tf.shape(image)[:2]
        return {
            "image": views.square(image, config),
            "keypoints": views.points_to_square(
                frame.pop("keypoints"), size, config
            ),
            "size": size,
            **frame,  # The rest passes through.
        }

    def frames(clip):
        count = tf.shape(clip["frames"]["index"])[0]
        names = {
            name: tf.fill([count], clip[name]) for name in ("clip_id", "video")
        }
        return tf.data.Dataset.from_tensor_slices({**clip["frames"], **names})

    return (
        shards.clips(role)
        .flat_map(frames)
        .map(view, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(2)
    )
