"""Asks a served model for the landmarks in image files.

    python -m tflm.client --server=http://localhost:8501 photo.jpg

Prints a line for each landmark: x and y are fractions of the width and height
of the image as it is meant to be seen (a photo is turned as its EXIF data say),
0 = centre of the first pixel, 1 = centre of the last. A file that cannot be
used is named, and the others are done; the exit status is then 1.
"""

import json
import sys

from absl import flags

from tflm import client
from tflm import command_line
from tflm import errors

_SERVER = flags.DEFINE_string(
    "server",
    "http://localhost:8501",
    "URL of the REST server, or HOST:PORT of the gRPC one.",
)
_MODEL = flags.DEFINE_string("model", "landmarks", "The model's name there.")
_MODEL_VERSION = flags.DEFINE_integer(
    "model_version", None, "Version to ask; the newest if not given."
)
_TIMEOUT = flags.DEFINE_float(
    "timeout", 60.0, "Seconds to wait for an answer.", lower_bound=0.001
)
_JSON = flags.DEFINE_boolean(
    "json", False, "Print an object of JSON for each image, one a line."
)

_AT_ONCE = 8  # Files of a request.


def main(paths: list[str]) -> int:
    """Runs the command; returns its exit status."""
    if not paths:
        raise errors.UserError("name the image files to send")
    is_url = "://" in _SERVER.value
    kind = client.RestClient if is_url else client.GrpcClient
    server = kind(
        _SERVER.value, _MODEL.value, _MODEL_VERSION.value, _TIMEOUT.value
    )
    num_failed = 0
    for start in range(0, len(paths), _AT_ONCE):
        batch = paths[start : start + _AT_ONCE]
        answers = server.predict_files(batch)
        if start == 0 and not _JSON.value:
            print("image\tlandmark\tx\ty\tconfidence")
        for path, found in zip(batch, answers):
            if found.error:
                num_failed += 1
                line = errors.in_one_line(f"{path}: {found.error}")
                print(line, file=sys.stderr)
            _print(path, found)
    if num_failed:
        print(f"{num_failed} of {len(paths)} files failed", file=sys.stderr)
    return 1 if num_failed else 0


def _print(path: str, found: client.Found) -> None:
    if _JSON.value:
        line = {
            "image": path,
            "landmarks": found.points,
            "confidence": found.confidence,
            "error": found.error,
        }
        print(json.dumps(line))
    elif not found.error:
        path = errors.in_one_line(path)
        rows = zip(found.points, found.confidence)
        for index, ((x, y), confidence) in enumerate(rows):
            print(f"{path}\t{index}\t{x:.5f}\t{y:.5f}\t{confidence:.4f}")


if __name__ == "__main__":
    flags.FLAGS.set_gnu_getopt(True)  # Flags may stand behind files.
    command_line.run(main, takes_arguments=True)
