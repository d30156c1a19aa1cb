"""Requests that TensorFlow Serving runs on a model before it serves it.

The first run of a signature is many times slower than later ones; with these
no client waits for it. TF Serving reads them from `FILE` of a version's folder,
a TFRecord file of `PredictionLog` messages (tensorflow_serving/apis/
prediction_log.proto). A request that fails would keep the model from loading.

The messages are put together here, field by field: their classes come with the
package tensorflow-serving-api alone, of which an export needs five fields. The
tests read them with that package.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import os
import pathlib

import numpy as np
import tensorflow as tf

FILE = "assets.extra/tf_serving_warmup_requests"

# Field numbers of the messages, whose names are on the left.
_PREDICTION_LOG_PREDICT_LOG = 6
_PREDICT_LOG_REQUEST = 1
_PREDICT_REQUEST_MODEL_SPEC = 1
_PREDICT_REQUEST_INPUTS = 2
_MODEL_SPEC_SIGNATURE_NAME = 3
_MAP_KEY, _MAP_VALUE = 1, 2

_Inputs = dict[str, np.ndarray]


def requests(
    signatures: Iterable[str], image_size: int
) -> list[tuple[str, _Inputs]]:
    """One request for each signature.

    Args:
        signatures: some of the names in `signatures`.
        image_size: side of the grey square that is sent, pixels.

    Returns:
        Pairs of a signature's name and its inputs.
    """
    pixels = np.full([1, image_size, image_size, 3], 128, np.uint8)
    jpeg = tf.io.encode_jpeg(pixels[0]).numpy()
    inputs = {
        "serving_float": {"images": pixels / np.float32(255.0)},
        "predict_bytes": {"image_bytes": np.array([jpeg], object)},
        "reconstruct": {"style_images": pixels, "geometry_images": pixels},
    }
    return [(name, inputs.get(name, {"images": pixels})) for name in signatures]


def write(
    file: str | os.PathLike,
    each_request: Iterable[tuple[str, Mapping[str, np.ndarray]]],
) -> None:
    """Writes requests, pairs of a signature's name and its inputs."""
    pathlib.Path(file).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(os.fspath(file)) as writer:
        for signature, inputs in each_request:
            writer.write(_prediction_log(signature, inputs))


def _prediction_log(signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
    model_spec = _field(_MODEL_SPEC_SIGNATURE_NAME, signature.encode())
    request = _field(_PREDICT_REQUEST_MODEL_SPEC, model_spec)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        entry = _field(_MAP_KEY, name.encode()) + _field(_MAP_VALUE, tensor)
        request += _field(_PREDICT_REQUEST_INPUTS, entry)
    predict_log = _field(_PREDICT_LOG_REQUEST, request)
    return _field(_PREDICTION_LOG_PREDICT_LOG, predict_log)


def _field(number: int, content: bytes) -> bytes:
    """A field of a message that is text, bytes or a message itself.

    Source: the wire format of protocol buffers, type 2: the field's number and
    type in one byte, the length of the content, the content.
    """
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """7 bits a byte, the lowest first; the 8th says whether more follow."""
    encoded = bytearray()
    while number >= 1 << 7:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
