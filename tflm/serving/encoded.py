"""Square views of JPEG and PNG files, as ops that any runtime has.

What is wrong with one file does not fail the others of a batch. TensorFlow has
no op that catches an error, but its datasets can leave out the elements that
cause one: a file is a dataset of one element, followed by a substitute.

Width and height are read from the header, before anything is decoded: a small
file may claim to be an image that fills the memory.
"""

import tensorflow as tf

from tflm import configs
from tflm.data import views

MAX_PIXELS = 25_000_000  # Of one image; decoded it takes 75 MB.
_AT_ONCE = 4  # Images of a batch that are decoded at the same time.

_NO_IMAGE = "neither JPEG nor PNG"
_TOO_SMALL = "less than 2 x 2 pixels"
_TOO_LARGE = f"more than {MAX_PIXELS} pixels"
_BROKEN = "does not decode"

_Parts = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def views_of(image_bytes: tf.Tensor, config: configs.Config) -> _Parts:
    """The square views of encoded images.

    Args:
        image_bytes: string `[N]`, JPEG or PNG files of any sizes. Colour is
            converted to RGB, transparency and the EXIF orientation are ignored.
        config: says which view; see `data.views.square`.

    Returns:
        The views, float32 `[N, S, S, 3]` in [0, 1]; the images' sizes, int32
        `[N, 2]`, (height, width), pixels; and what is wrong with each, string
        `[N]`, "" if nothing is. Where something is, view and size are those
        of a black image of 2 x 2 pixels.
    """
    side = config.model.image_size

    def substitute(problem: tf.Tensor) -> _Parts:
        return tf.zeros([side, side, 3]), tf.constant([2, 2]), problem

    def parts(content: tf.Tensor) -> _Parts:
        is_jpeg = _starts_with(content, b"\xff\xd8\xff")
        is_png = _starts_with(content, b"\x89PNG\r\n\x1a\n")
        sides = tf.case(
            [
                (is_jpeg, lambda: tf.image.extract_jpeg_shape(content)[:2]),
                (is_png, lambda: _png_sides(content)),
            ],
            default=lambda: tf.constant([2, 2]),
        )
        num_pixels = tf.reduce_prod(tf.cast(sides, tf.int64))
        problem = tf.case(
            [
                (~(is_jpeg | is_png), lambda: tf.constant(_NO_IMAGE)),
                (tf.reduce_min(sides) < 2, lambda: tf.constant(_TOO_SMALL)),
                (num_pixels > MAX_PIXELS, lambda: tf.constant(_TOO_LARGE)),
            ],
            default=lambda: tf.constant(""),
        )

        def decoded() -> _Parts:
            image = tf.cond(
                is_jpeg,
                lambda: tf.io.decode_jpeg(content, channels=3),
                lambda: tf.io.decode_png(content, channels=3),
            )
            # Resized as uint8, which takes a quarter of the memory.
            view = tf.cast(views.square(image, config), tf.float32) / 255.0
            return view, tf.shape(image)[:2], problem

        return tf.cond(problem == "", decoded, lambda: substitute(problem))

    def parts_or_substitute(content: tf.Tensor) -> _Parts:
        broken = tf.data.Dataset.from_tensors(substitute(tf.constant(_BROKEN)))
        sound = tf.data.Dataset.from_tensors(content).map(parts).ignore_errors()
        return sound.concatenate(broken).take(1).get_single_element()

    return tf.map_fn(
        parts_or_substitute,
        image_bytes,
        parallel_iterations=_AT_ONCE,
        fn_output_signature=(
            tf.TensorSpec([side, side, 3], tf.float32),
            tf.TensorSpec([2], tf.int32),
            tf.TensorSpec([], tf.string),
        ),
    )


def _starts_with(content: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.strings.substr(content, 0, len(magic)) == magic


def _png_sides(content: tf.Tensor) -> tf.Tensor:
    """Width and height, which follow the first 16 bytes of the file."""
    numbers = tf.strings.substr(content, 16, 8)
    return tf.io.decode_raw(numbers, tf.int32, little_endian=False)
