"""What a served model is asked for, whichever way."""

import abc
from collections.abc import Sequence
import dataclasses
import typing

from tflm import errors

if typing.TYPE_CHECKING:
    import numpy as np

_LONGEST = 400  # Characters of a server's message; some repeat the request.


class Refused(errors.UserError):
    """The server answers that it cannot do as asked, and why."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What the model finds in one image.

    Attributes:
        points: (x, y) of each, fractions of the image's width and height: 0 is
            the centre of its first column or row and 1 that of its last; in
            pixels x * (width - 1), y * (height - 1). EXIF orientation is
            ignored.
        confidence: of each point, in [0, 1].
        names: of each keypoint; landmarks have none.
        error: why the file cannot be used, "" if it can. If it cannot, the
            points are (-1, -1) and their confidence is 0.
    """

    points: list[tuple[float, float]]
    confidence: list[float]
    names: tuple[str, ...] = ()
    error: str = ""


class Client(abc.ABC):
    """What users ask for, by `predict`."""

    @abc.abstractmethod
    def predict(self, signature: str, **inputs) -> dict[str, list]:
        """Runs any signature.

        Args:
            signature: its name.
            **inputs: by name, arrays or nested lists of numbers, or lists of
                bytes; the first axis is the image.

        Returns:
            Its outputs, nested lists by name. Of a signature with one output
            that output itself, without the name.

        Raises:
            Refused: if the server does not do it.
            errors.UserError: if there is no answer.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the connection, if one is kept."""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def predict_bytes(self, files: Sequence[bytes]) -> list[Found]:
        """Finds the landmarks in JPEG and PNG files of any sizes.

        A file that cannot be used does not fail the others: see `Found.error`.
        Raises as `predict`.
        """
        outputs = self.predict("predict_bytes", image_bytes=list(files))
        return _in_each_image(outputs, "landmarks")

    def predict_images(self, images: "np.ndarray") -> list[Found]:
        """Finds the landmarks in images, uint8 `[N, H, W, 3]`, RGB.

        Raises as `predict`.
        """
        outputs = self.predict("serving_default", images=_uint8(images))
        return _in_each_image(outputs, "landmarks")

    def predict_keypoints(self, images: "np.ndarray") -> list[Found]:
        """Finds the named keypoints in images, uint8 `[N, H, W, 3]`, RGB.

        Models of runs that were evaluated without annotations have none, and
        the server refuses. A keypoint may be beyond the image. Raises as
        `predict`.
        """
        outputs = self.predict("keypoints", images=_uint8(images))
        return _in_each_image(outputs, "keypoints")


def one_line(message) -> str:
    """A server's message without line breaks, and cut if it is long."""
    line = " ".join(str(message).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _uint8(images: "np.ndarray") -> "np.ndarray":
    """Refuses other types: over REST 300 would be taken for 44."""
    kind = getattr(images, "dtype", type(images).__name__)
    if kind != "uint8":
        raise errors.UserError(
            f"images must be a uint8 array [N, height, width, 3], got {kind}"
        )
    return images


def _in_each_image(outputs: dict[str, list], kind: str) -> list[Found]:
    if not isinstance(outputs, dict) or kind not in outputs:
        raise errors.UserError(
            f"the model answers without {kind}; is it one of export.py?"
        )
    count = len(outputs[kind])
    return [
        Found([(x, y) for x, y in points], confidence, tuple(names), error)
        for points, confidence, names, error in zip(
            outputs[kind],
            outputs["confidence"],
            outputs.get("names", [()] * count),
            outputs.get("error", [""] * count),
        )
    ]
