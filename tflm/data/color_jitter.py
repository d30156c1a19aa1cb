"""Random colours of image batches.

The detector is trained on a target in other colours than are redrawn, so that
where it puts landmarks cannot tell the generator about colours.
"""

import tensorflow as tf

_MAX_SATURATION = 1.5


def color_jitter(
    images: tf.Tensor, amount: float, seed: tf.Tensor
) -> tf.Tensor:
    """Changes the saturation, contrast, brightness and tint of each image.

    Saturation is multiplied by a factor from 0 (grey) to 1.5, whatever the
    amount; contrast, about the image's mean grey, and each channel by
    exp(`amount` * N(0, 1)); N(0, (`amount` / 2)^2) is added.

    Args:
        images: float32 `[B, H, W, 3]` in [0, 1].
        amount: not negative.
        seed: int32 `[2]`; the same seed draws the same colours.

    Returns:
        float32 `[B, H, W, 3]`, clipped to [0, 1].
    """
    batch_size = tf.shape(images)[0]
    seeds = tf.unstack(tf.random.split(seed, 4), num=4)

    def factor(index, channels):
        return tf.exp(amount * normal(index, channels))

    def normal(index, channels):
        return tf.random.stateless_normal(
            [batch_size, 1, 1, channels], seeds[index]
        )

    saturation = tf.random.stateless_uniform(
        [batch_size, 1, 1, 1], seeds[0], 0.0, _MAX_SATURATION
    )
    grey = tf.reduce_mean(images, axis=-1, keepdims=True)
    mean = tf.reduce_mean(grey, axis=[1, 2], keepdims=True)
    images = grey + saturation * (images - grey)
    images = mean + factor(1, 1) * (images - mean)
    images = factor(2, 3) * images + amount / 2.0 * normal(3, 1)
    return tf.clip_by_value(images, 0.0, 1.0)
