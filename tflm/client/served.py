"""What a served model is asked for, whichever way."""

import abc
from collections.abc import Sequence
import dataclasses
import os
import pathlib
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
            pixels x * (width - 1), y * (height - 1). `predict_bytes` means
            the upright image: a photo after the turn that its EXIF data ask
            for.
        confidence: of each point, in [0, 1].
        names: of each keypoint; landmarks have none.
        error: why the file cannot be used, "" if it can. If it cannot, the
            points are (-1, -1) and their confidence is 0, or there are none
            if the server was not asked or did not answer.
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
        """Finds the landmarks in image files of any sizes.

        They are prepared as tflm.predict prepares them: turned as their EXIF
        data say, what is transparent on black, at most 25,000,000 pixels, PNG
        unless they are JPEG or PNG. An upright JPEG or PNG is sent as it is.
        To send files without that, ask `predict` for "predict_bytes".

        A file that cannot be used does not fail the others: see `Found.error`.

        Raises:
            errors.UserError: as `predict`; also if Pillow or NumPy, which
                preparing takes, is not installed.
        """
        contents, problems = [], []
        for file in files:
            content, problem = _prepared(file)
            contents.append(content)
            problems.append(problem)
        outputs = self.predict("predict_bytes", image_bytes=contents)
        found = _in_each_image(outputs, "landmarks")
        return [
            dataclasses.replace(each, error=problem or each.error)
            for each, problem in zip(found, problems)
        ]

    def predict_files(self, paths: Sequence[str | os.PathLike]) -> list[Found]:
        """Reads image files and finds the landmarks in them.

        As `predict_bytes`, but a file that cannot be read does not fail the
        others either, nor does one that the server refuses or is too long at:
        see `Found.error`.

        Raises:
            errors.UserError: as `predict_bytes`, if no file is answered.
        """
        contents, found = {}, {}
        for path in paths:
            file = pathlib.Path(path)
            try:
                if file.is_dir():
                    why = "it is a folder; name the files in it"
                    found[path] = _failed(why)
                elif file.exists() and not file.is_file():  # A pipe may wait.
                    found[path] = _failed("it is no file; name image files")
                else:
                    contents[path] = file.read_bytes()
            except OSError as error:
                why = f"{error.strerror}; name an image file that you may read"
                found[path] = _failed(why)
        if contents:
            found.update(zip(contents, self._each([*contents.values()])))
        return [found[path] for path in paths]

    def _each(self, files: list[bytes]) -> list[Found]:
        """Asks about files at once, and about each alone if that fails."""
        try:
            return self.predict_bytes(files)
        except errors.UserError as error:
            self.predict_bytes([b""])  # Raises if no file would be answered.
            if len(files) == 1:
                return [_failed(str(error))]
        return [found for file in files for found in self._each([file])]

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


def _failed(why: str) -> Found:
    """In place of an answer, of which not even the size is known."""
    return Found([], [], error=why)


def _prepared(file: bytes) -> tuple[bytes, str]:
    """What is sent of a file, and what is wrong with it, "" if nothing is.

    The server answers to an empty file as to every one that it cannot use.
    """
    try:
        # Not above: all else does without NumPy and Pillow.
        from tflm.media import images
    except ImportError as error:
        raise errors.UserError(
            f"preparing images takes NumPy and Pillow ({error}):"
            " pip install numpy pillow; or send upright JPEG and PNG files by"
            ' predict("predict_bytes", image_bytes=files)'
        ) from error
    try:
        return images.for_server(file, "the file"), ""
    except errors.RawDataError as error:
        return b"", str(error)


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
