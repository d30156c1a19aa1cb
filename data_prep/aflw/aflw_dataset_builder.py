"""AFLW faces with five keypoints, as cropped for the paper; see README.md."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import itertools
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from data_prep import clip_builder
from data_prep import clips
from data_prep import matlab
from tflm import errors
from tflm.media import file_names
from tflm.media import images
from tflm.media import tables

KEYPOINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
IMAGES = "output"
TRAIN, TEST = "aflw_train", "aflw_test"  # What the other files begin with.
LIST, POINTS = "_images.txt", "_keypoints.mat"  # What they end with.
VAL_FRACTION = 0.1  # Of the training list: its end.
URL = "https://github.com/tomasjakab/imm"


def _read(source: clip_builder.Source) -> Iterator[dict | errors.Broken]:
    """Reads a face; `spec` is path, (height, width), and keypoints."""
    path, expected_size, keypoints = source.spec
    try:
        image = images.read_prepared(path)
    except errors.RawDataError as error:
        yield errors.Broken(str(path), str(error))
        return
    if image.size != expected_size:
        yield errors.Broken(
            str(path),
            f"{path} is {image.size[0]} x {image.size[1]} pixels (height x"
            f" width), its keypoints are for {expected_size[0]} x"
            f" {expected_size[1]}; fetch it again",
        )
        return
    keypoints = images.shrink_points(keypoints, image.scale)
    yield clips.still(source.group, image.encoded, keypoints, image.scale)


class Builder(clip_builder.ClipBuilder):
    """One clip per face."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The scale of every frame."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"the folder that holds {IMAGES}/, {TRAIN}{LIST}, {TRAIN}{POINTS},"
        f" {TEST}{LIST} and {TEST}{POINTS}: the AFLW download of {URL}"
    )
    read = staticmethod(_read)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Faces of AFLW, cropped, with five keypoints.",
            homepage=URL,
            features=clips.features(len(KEYPOINTS)),
            metadata=clips.metadata(
                keypoint_names=KEYPOINTS,
                left_right_swaps=[(0, 1), (3, 4)],
                normalizing_pair=(0, 1),
                crop="a square around a face",
                splits={
                    "train": "train",
                    "val": "val",
                    "regression_train": "train",
                    "regression_test": "test",
                },
            ),
        )

    def sources(
        self, raw_dir: pathlib.Path
    ) -> dict[str, list[clip_builder.Source]]:
        folder = raw_dir / IMAGES
        if not folder.is_dir():
            raise errors.RawDataError(
                f"{folder} is missing; give the folder of the AFLW download of"
                f" {URL}"
            )
        listed = self.listing(folder, images.SUFFIXES)
        lists = {
            part: _read_names(raw_dir / (part + LIST)) for part in (TRAIN, TEST)
        }
        names = dict.fromkeys(itertools.chain(*lists.values()))
        files = self.find(
            f"{folder}, as listed", names, file_names.Finder(listed.names)
        )
        unlisted = sorted({*listed.names} - {*files.values()})
        self.count(
            f"{folder}: {len(listed.names) - len(unlisted)} images",
            {**listed.left_out, "in no list": unlisted},
        )
        train, test = (
            _sources(raw_dir, part, lists[part], files)
            for part in (TRAIN, TEST)
        )
        num_val = int(VAL_FRACTION * len(train) + 0.5)
        return {
            "train": train[: len(train) - num_val],
            "val": train[len(train) - num_val :],
            "test": test,
        }


def _sources(
    raw_dir: pathlib.Path,
    part: str,
    names: Sequence[str],
    files: Mapping[str, str],
) -> list[clip_builder.Source]:
    """The faces of a list, in its order; `files` maps their names to files."""
    keypoints, sizes = _read_keypoints(raw_dir / (part + POINTS), len(names))
    return [
        clip_builder.Source(
            name, 1, (raw_dir / IMAGES / files[name], tuple(size), points)
        )
        for name, size, points in zip(names, sizes.tolist(), keypoints)
    ]


def _read_names(path: pathlib.Path) -> list[str]:
    """Paths below IMAGES, one a line."""
    text = tables.read_text(path, f"it comes with the AFLW download of {URL}")
    lines = text.splitlines()
    numbers = {}
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            raise errors.RawDataError(
                f"{path}, line {number}: must be an image, is empty; remove it"
            )
        if name in numbers:
            raise errors.RawDataError(
                f"{path}, line {number}: {name} is also in line"
                f" {numbers[name]}; fetch the file again from {URL}"
            )
        numbers[name] = number
    return list(numbers)


def _read_keypoints(
    path: pathlib.Path, num_images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Reads `gt` and `hw`.

    Returns:
        float `[N, 5, 2]`, (y, x), pixels from 0 at the centre of the first; NaN
        where missing. The file has this order and origin.
        int `[N, 2]`: (height, width) of the images, pixels.
    """
    fields = matlab.read(path, f"the AFLW download of {URL}")
    arrays = []
    for name, shape in (
        ("gt", (num_images, len(KEYPOINTS), 2)),
        ("hw", (num_images, 2)),
    ):
        array = fields.get(name)
        if array is None or array.dtype.kind not in "iuf":
            raise errors.RawDataError(
                f"{path} has no field {name!r} of numbers; fetch it again from"
                f" {URL}"
            )
        if array.shape != shape:
            raise errors.RawDataError(
                f"{path}: {name} must be {matlab.by(shape)} for the"
                f" {num_images} images of {path.name.replace(POINTS, LIST)},"
                f" got {matlab.by(array.shape)}; fetch both again from {URL}"
            )
        if np.isinf(array).any():
            raise errors.RawDataError(
                f"{path}: {name} has an infinite value; fetch it again from"
                f" {URL}"
            )
        arrays.append(array.astype(np.float64))
    keypoints, sizes = arrays
    return keypoints, sizes.astype(np.int64)
