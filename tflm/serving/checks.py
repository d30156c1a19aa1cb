"""Refuses, inside the graph, images that would be answered with nonsense.

A signature's types are checked before it runs, by whoever runs it; not so its
shapes: TF Serving checks none, and a convolution takes 6 channels for two
groups of 3. What is left is checked here. The client gets INVALID_ARGUMENT with
the message.
"""

import tensorflow as tf

# Resizing with some filters overshoots a little; whole brightness levels of
# 255 are far beyond.
_SLACK = 0.01


def checked(images: tf.Tensor, name: str = "images") -> tf.Tensor:
    """Images as numbers in [0, 1], once they are known to be sound.

    Args:
        images: `[N, H, W, 3]`, uint8, or float32 in [0, 1].
        name: of the input, for the message.

    Returns:
        float32 `[N, H, W, 3]` in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if there are no images,
            if they have less than 2 rows or columns or another number of
            channels than 3, or if a number is NaN, infinite or outside [0, 1].
    """
    shape = tf.shape(images)
    checks = [
        (shape[0] >= 1, f"{name}: no images, the shape is"),
        (
            tf.reduce_min(shape[1:3]) >= 2,
            f"{name} must be at least 2 x 2 pixels, the shape is",
        ),
        (
            tf.reduce_all(shape[3:] == 3),
            f"{name} must have 3 channels, the shape is",
        ),
    ]
    if images.dtype != tf.uint8:
        # A comparison with NaN is false.
        sound = (images >= -_SLACK) & (images <= 1.0 + _SLACK)
        checks.append(
            (
                tf.reduce_all(sound),
                f"{name} of type float must be numbers in [0, 1]; the shape is",
            )
        )
    for condition, message in checks:
        images = if_true(images, condition, message, shape)
    if images.dtype == tf.uint8:
        images = tf.cast(images, tf.float32) / 255.0
    return images


def if_true(
    tensor: tf.Tensor, condition: tf.Tensor, message: str, *details: tf.Tensor
) -> tf.Tensor:
    """Passes `tensor` on, or fails with `message` and `details`."""
    check = tf.debugging.Assert(condition, [message, *details])
    # Executed eagerly it has failed by now, and there is no op to wait for.
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(tensor)
