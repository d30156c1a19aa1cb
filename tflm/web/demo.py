"""A folder that any web server can serve: the detector in a page.

index.html, *.css, *.js   The page; see this module's folder.
demo.json                 What the page must know about the model.
detector.tflite
examples/                 Images to try, as PNG.
litert/                   LiteRT.js, which runs the model; see `litert`.
LICENSE.txt               Of the page and of LiteRT.js.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import os
import pathlib
import shutil

import numpy as np
from PIL import Image
import tensorflow as tf

from tflm import errors
from tflm import files
from tflm.data import views
from tflm.drawing import palette
from tflm.serving import tflite
from tflm.web import litert

_HERE = pathlib.Path(__file__).parent
_LICENCE = _HERE.parents[1] / "LICENSE"
_NOTES = "demo.json"  # A folder with this file is an earlier page.
_PAGE = {
    "page.html": "index.html",  # What servers answer for the folder.
    **{
        name: name
        for name in ("page.css", "page.js", "model.js", "photo.js", "view.js")
    },
}


def write(
    folder: str | os.PathLike,
    tflite_file: str | os.PathLike,
    images: Sequence[np.ndarray],
    litert_archives: Sequence[bytes],
    *,
    title: str,
    keypoint_names: Sequence[str] = (),
) -> None:
    """Writes the page, whole or not at all.

    It is opened through a web server, as `python -m http.server`: browsers let
    no page that was opened as a file load a model or WebAssembly.

    Args:
        folder: an earlier page there is replaced.
        tflite_file: a detector in float32, as `serving.tflite.write` writes it.
        images: uint8 `[H, W, 3]` of any sizes, to try; the first is shown at
            once.
        litert_archives: of `litert.load`.
        title: of the page.
        keypoint_names: of the outputs `keypoints` of the detector, if it has
            them.

    Raises:
        errors.UserError: if the detector is not one of export.py, or `folder`
            cannot be written or holds anything but a page.
        ValueError: if there are more or fewer names than keypoints.
    """
    notes = _notes(pathlib.Path(tflite_file), title, keypoint_names)
    with _replacing(pathlib.Path(folder)) as new:
        litert.unpack(litert_archives, new / "litert")
        for name, name_there in _PAGE.items():
            shutil.copyfile(_HERE / name, new / name_there)
        shutil.copyfile(_LICENCE, new / "LICENSE.txt")
        shutil.copyfile(tflite_file, new / "detector.tflite")
        (new / "examples").mkdir()
        for number, image in enumerate(images, start=1):
            name = f"examples/{number}.png"
            Image.fromarray(image).save(new / name)
            notes["examples"].append(name)
        files.write_json(new / _NOTES, notes)


def _notes(
    tflite_file: pathlib.Path, title: str, keypoint_names: Sequence[str]
) -> dict:
    config = tflite.read_view(tflite_file)
    num_keypoints = _num_keypoints(tflite_file)
    if num_keypoints != len(keypoint_names):
        raise ValueError(
            f"{len(keypoint_names)} names for {num_keypoints} keypoints"
        )
    return {
        "title": title,
        "image_size": config.model.image_size,
        "full_size": views.full_size(config),
        "landmarks": _points(
            [f"Landmark {k}" for k in range(config.model.num_landmarks)]
        ),
        "keypoints": _points(keypoint_names),
        "examples": [],
        "litert_version": litert.VERSION,
    }


def _num_keypoints(tflite_file: pathlib.Path) -> int:
    interpreter = tf.lite.Interpreter(os.fspath(tflite_file))
    outputs = interpreter.get_signature_runner().get_output_details()
    if "keypoints" not in outputs:
        return 0
    return int(outputs["keypoints"]["shape"][1])


def _points(names: Sequence[str]) -> list[dict[str, str]]:
    """Name and colour, #rrggbb, of each point."""
    colours = np.rint(palette.palette(len(names)) * 255.0).astype(np.uint8)
    return [
        {"name": name, "colour": f"#{colour.tobytes().hex()}"}
        for name, colour in zip(names, colours)
    ]


def check(folder: str | os.PathLike) -> None:
    """Finds out whether `write` may write to `folder`.

    Raises:
        errors.UserError: if it holds anything but a page.
    """
    folder = pathlib.Path(folder).resolve()
    if folder.exists() and not (folder / _NOTES).exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise errors.UserError(
                f"{folder} is there and is no page of an export; move it away,"
                " or choose another folder"
            )


@contextlib.contextmanager
def _replacing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a new folder that becomes `folder` once the block succeeds."""
    folder = folder.resolve()
    try:
        check(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # On the same disk, so that it can be renamed.
        with files.scratch_folder(folder.parent, f".{folder.name}-") as scratch:
            new = scratch / "new"
            new.mkdir()
            yield new
            earlier = scratch / "earlier"
            if folder.exists():
                folder.rename(earlier)
            try:
                new.rename(folder)
            except BaseException:
                if earlier.exists():
                    earlier.rename(folder)
                raise
    except OSError as error:
        raise errors.UserError(
            f"cannot write {folder}: {error.strerror or error}; choose another"
            " folder"
        ) from error
