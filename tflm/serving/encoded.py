"""Square views of JPEG and PNG files, as ops that any runtime has.

Files are prepared as tflm.media.images prepares them for training and for
tflm.predict: turned as their EXIF data say, what is transparent on black.

What is wrong with one file does not fail the others of a batch. TensorFlow has
no op that catches an error, but its datasets can leave out the elements that
cause one: a file is a dataset of one element, followed by a substitute.

Width and height are read from the header, before anything is decoded: a small
file may claim to be an image that fills the memory.
"""

import tensorflow as tf

from tflm import configs
from tflm.data import views
from tflm.media import images

MAX_PIXELS = images.MAX_SERVED_PIXELS  # Of one image; decoded they take 75 MB.
_AT_ONCE = 4  # Images of a batch that are decoded at the same time.

_NO_IMAGE = "neither JPEG nor PNG"
_TOO_SMALL = "less than 2 x 2 pixels"
_TOO_LARGE = f"more than {MAX_PIXELS} pixels"
_BROKEN = "does not decode"

_EXIF = b"Exif\0\0"  # How EXIF data begin in a JPEG.

_Parts = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def views_of(image_bytes: tf.Tensor, config: configs.Config) -> _Parts:
    """The square views of encoded images.

    Args:
        image_bytes: string `[N]`, JPEG or PNG files of any sizes. They are
            converted to RGB, turned as their EXIF data say (in a PNG those
            before the pixels), and what is transparent becomes black.
        config: says which view; see `data.views.square`.

    Returns:
        The views, float32 `[N, S, S, 3]` in [0, 1]; the upright images' sizes,
        int32 `[N, 2]`, (height, width), pixels; and what is wrong with each,
        string `[N]`, "" if nothing is. Where something is, view and size are
        those of a black image of 2 x 2 pixels.
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
            image, exif = tf.cond(
                is_jpeg,
                lambda: (_decode_jpeg(content), _exif_of_jpeg(content)),
                lambda: (_decode_png(content), _png_chunk(content, b"eXIf")),
            )
            image = _turned(image, _orientation(exif))
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


def _decode_jpeg(content: tf.Tensor) -> tf.Tensor:
    """uint8 `[H, W, 3]`, the same numbers as Pillow's."""
    return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_png(content: tf.Tensor) -> tf.Tensor:
    """uint8 `[H, W, 3]`, the same numbers as of `media.images.decode`."""
    depth, kind = _number(content, 24, 1), _number(content, 25, 1)
    key = _png_chunk(content, b"tRNS")  # Says which colours are transparent.

    def grey_of_16_bits() -> tf.Tensor:
        pixels = tf.io.decode_png(content, channels=1, dtype=tf.uint16)
        pixels = tf.cast(pixels, tf.int64)
        level = _number(tf.strings.join([key, b"\0\0"]), 0, 2)
        is_seen = (key == "") | (pixels != level)
        grey = tf.where(is_seen, (pixels + 128) // 257, 0)  # Rounded.
        return tf.repeat(tf.cast(grey, tf.uint8), 3, axis=-1)

    def on_black() -> tf.Tensor:
        pixels = tf.cast(tf.io.decode_png(content, channels=4), tf.uint16)
        product = pixels[..., :3] * pixels[..., 3:]
        return tf.cast((product + 127) // 255, tf.uint8)  # Rounded.

    return tf.case(
        [
            ((depth == 16) & (kind == 0), grey_of_16_bits),
            ((kind >= 4) | (key != ""), on_black),
        ],
        default=lambda: tf.io.decode_png(content, channels=3),
    )


def _exif_of_jpeg(content: tf.Tensor) -> tf.Tensor:
    """The segment of the EXIF data; "" if there is none before the pixels."""

    def is_on(place: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
        has_more = place + 4 <= _length(content)
        mark = tf.strings.substr(content, tf.where(has_more, place, 0), 2)
        is_pixels = tf.reduce_any(mark == [b"\xff\xda", b"\xff\xd9"])
        is_mark = _starts_with(mark, b"\xff")
        return has_more & is_mark & ~is_pixels & (exif == "")

    def step(place: tf.Tensor, exif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mark = tf.strings.substr(content, place, 2)
        length = _number(content, place + 2, 2)
        segment = tf.strings.substr(
            content, place + 4, tf.maximum(length - 2, 0)
        )
        is_exif = (mark == b"\xff\xe1") & _starts_with(segment, _EXIF)
        is_padding = mark == b"\xff\xff"
        place += tf.where(is_padding, tf.constant(1, tf.int64), 2 + length)
        return place, tf.where(is_exif, segment, exif)

    return tf.while_loop(is_on, step, [tf.constant(2, tf.int64), ""])[1]


def _png_chunk(content: tf.Tensor, wanted: bytes) -> tf.Tensor:
    """What a chunk before the pixels holds; "" if there is no such chunk."""

    def is_on(place: tf.Tensor, chunk: tf.Tensor) -> tf.Tensor:
        has_more = place + 12 <= _length(content)
        name = tf.strings.substr(content, tf.where(has_more, place + 4, 0), 4)
        is_pixels = tf.reduce_any(name == [b"IDAT", b"IEND"])
        return has_more & ~is_pixels & (chunk == "")

    def step(place: tf.Tensor, chunk: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        length = _number(content, place, 4)
        is_it = tf.strings.substr(content, place + 4, 4) == wanted
        inside = tf.strings.substr(content, place + 8, length)
        return place + 12 + length, tf.where(is_it, inside, chunk)

    return tf.while_loop(is_on, step, [tf.constant(8, tf.int64), ""])[1]


def _orientation(exif: tf.Tensor) -> tf.Tensor:
    """What `media.images.orientation` says, int64 from 1 to 8; 1 if nothing."""
    start = tf.where(_starts_with(exif, _EXIF), len(_EXIF), 0)
    tiff = tf.strings.substr(exif, start, tf.strings.length(exif))
    is_little = _starts_with(tiff, b"II*\0")
    is_tiff = is_little | _starts_with(tiff, b"MM\0*")
    data = tf.cast(tf.io.decode_raw(tiff, tf.uint8), tf.int64)
    size = tf.size(data, tf.int64)
    data = tf.concat([data, tf.zeros([8], tf.int64)], axis=0)

    def number(values: tf.Tensor) -> tf.Tensor:
        weights = 256 ** tf.range(tf.shape(values, tf.int64)[-1])
        weights = tf.where(is_little, weights, weights[::-1])
        return tf.reduce_sum(values * weights, axis=-1)

    start = number(data[4:8])
    is_whole = is_tiff & (size >= 8) & (start + 2 <= size)
    start = tf.where(is_whole, start, 0)
    count = tf.minimum(
        number(data[start : start + 2]), (size - start - 2) // 12
    )
    count = tf.where(is_whole, count, 0)
    end = start + 2 + 12 * count
    entries = tf.reshape(data[start + 2 : end], [-1, 12])
    is_short = (number(entries[:, 2:4]) == 3) & (number(entries[:, 4:8]) == 1)
    value = number(entries[:, 8:10])
    is_known = is_short & (value >= 1) & (value <= 8)
    value = tf.where(is_known, value, 1)
    found = tf.boolean_mask(value, number(entries[:, :2]) == 0x0112)
    return tf.concat([found, [1]], axis=0)[0]


def _turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Mirrors an image, then turns it, as its orientation says."""
    is_mirrored = [
        tf.reduce_any(orientation == [3, 4, 6, 7]),  # Upside down.
        tf.reduce_any(orientation == [2, 3, 7, 8]),
    ]
    image = tf.reverse(image, tf.boolean_mask([0, 1], is_mirrored))
    return tf.cond(
        orientation >= 5,
        lambda: tf.transpose(image, [1, 0, 2]),
        lambda: image,
    )


def _length(content: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(content), tf.int64)


def _number(content: tf.Tensor, place: tf.Tensor, count: int) -> tf.Tensor:
    """A number of so many bytes, the highest first, int64."""
    digits = tf.io.decode_raw(
        tf.strings.substr(content, place, count), tf.uint8
    )
    weights = [256**power for power in reversed(range(count))]
    return tf.reduce_sum(tf.cast(digits, tf.int64) * weights)
