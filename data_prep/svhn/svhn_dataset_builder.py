"""Street View House Numbers, the full numbers; see README.md.

A clip is a house number, its frames are the digits: they share a style.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import pathlib
import shutil
import tarfile
import tempfile
from typing import BinaryIO
import zlib

import h5py
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep import clip_builder
from data_prep import clips
from data_prep import progress
from tflm import errors
from tflm.media import boxes
from tflm.media import file_names
from tflm.media import images
from tflm.media import tables

SIDE = 64  # Pixels of a stored digit.
VAL_FRACTION = 0.1  # Of the house numbers of the archive `train`.
BOXES = "digitStruct.mat"
FIELDS = ("label", "top", "left", "height", "width")
MAX_BYTES = 2**26  # Of an image file; the largest of SVHN has 2**20.
HOMEPAGE = "http://ufldl.stanford.edu/housenumbers/"

# House numbers of an archive: image name -> float `[digits, 5]`, FIELDS.
Numbers = Mapping[str, np.ndarray]


def _read(source: clip_builder.Source) -> Iterator[dict | errors.Broken]:
    """Reads house numbers; `spec` is a folder or archive, and Numbers."""
    path, numbers = source.spec
    missing = set(numbers)
    for name, encoded in _image_files(path, numbers):
        missing.discard(name)
        try:
            image = _decode(encoded, f"{name} of {path}")
            _check_boxes(image, numbers[name], f"{name} of {path}")
        except errors.RawDataError as error:
            yield errors.Broken(f"{path}/{name}", str(error))
            continue
        yield _clip(f"{_stem(path)}/{name}", image, numbers[name])
    for name in sorted(missing):
        yield errors.Broken(
            f"{path}/{name}",
            f"{name} is named by {BOXES}, but missing in {path}; fetch it"
            " again",
        )


class Builder(clip_builder.ClipBuilder):
    """One clip per house number: its digits, in the order of the file.

    Args:
        extra: whether to train on the archive `extra`, too.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The scale of every frame."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "the folder that holds train.tar.gz and test.tar.gz (and, with --extra,"
        f" extra.tar.gz) of format 1, full numbers, from {HOMEPAGE}"
    )
    read = staticmethod(_read)

    def __init__(self, *, extra: bool = False, **kwargs):
        self._extra = extra
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Digits of house numbers, a clip per number.",
            homepage=HOMEPAGE,
            features=clips.features(0, factors=["digit"]),
            metadata=clips.metadata(
                keypoint_names=[],
                left_right_swaps=[],
                normalizing_pair=None,
                crop="a square around one digit",
                splits={"train": "train", "val": "val", "test": "test"},
            ),
        )

    def sources(
        self, raw_dir: pathlib.Path
    ) -> dict[str, list[clip_builder.Source]]:
        splits = {"train": [], "val": [], "test": []}
        for archive in ("train", "test") + ("extra",) * self._extra:
            path = _find(raw_dir, archive)
            parts = {split: {} for split in splits}
            numbers = _read_numbers(path)
            self._check_there(path, numbers)
            for name, digits in numbers.items():
                if archive == "test":
                    parts["test"][name] = digits
                elif archive == "train" and is_val(name):
                    parts["val"][name] = digits
                elif len(digits) > 1:  # A single digit makes no pair.
                    parts["train"][name] = digits
            for split, numbers in parts.items():
                splits[split] += _sources(path, split, numbers)
        return splits

    def _check_there(self, path: pathlib.Path, numbers: Numbers) -> None:
        """Checks that images are there, if they are unpacked."""
        if not path.is_dir():  # An archive tells when it is read.
            return
        listed = self.listing(path, images.SUFFIXES, [path / BOXES])
        self.find(
            f"{path}, as {BOXES} names them",
            numbers,
            file_names.Finder(listed.names),
        )
        unnamed = [name for name in listed.names if name not in numbers]
        self.count(
            f"{path}: {len(listed.names) - len(unnamed)} images",
            {**listed.left_out, f"that {BOXES} does not name": unnamed},
        )


def is_val(name: str) -> bool:
    """Whether an image of the archive `train` is in split val, by its name."""
    return zlib.crc32(name.encode()) < VAL_FRACTION * 2**32


def _find(raw_dir: pathlib.Path, archive: str) -> pathlib.Path:
    """The unpacked folder of an archive if it is there, else the archive."""
    folder, packed = raw_dir / archive, raw_dir / f"{archive}.tar.gz"
    if (folder / BOXES).is_file():
        return folder
    if not packed.is_file():
        raise errors.RawDataError(
            f"{packed} is missing, and so is {folder / BOXES}; download it from"
            f" {HOMEPAGE}"
        )
    return packed


def _stem(path: pathlib.Path) -> str:
    return path.name.removesuffix(".tar.gz")


def _sources(
    path: pathlib.Path, split: str, numbers: Numbers
) -> list[clip_builder.Source]:
    """An archive is read in one go, a folder image by image."""
    if not numbers:
        return []
    if not path.is_dir():
        num_digits = sum(map(len, numbers.values()))
        group = f"{path.name}, part {split}"
        return [clip_builder.Source(group, num_digits, (path, numbers))]
    return [
        clip_builder.Source(
            f"{path.name}/{name}", len(digits), (path, {name: digits})
        )
        for name, digits in numbers.items()
    ]


def _read_numbers(path: pathlib.Path) -> Numbers:
    """Reads the file of boxes of an archive or folder."""
    if path.is_dir():
        with (path / BOXES).open("rb") as file:
            return _read_boxes(file, str(path / BOXES))
    with tempfile.TemporaryFile() as copy:
        with contextlib.closing(_members(path)) as members:
            for name, file in members:
                if name == BOXES:
                    with _naming(path):
                        shutil.copyfileobj(file, copy)
                    return _read_boxes(copy, f"{BOXES} of {path}")
    raise errors.RawDataError(f"{path} holds no {BOXES}; fetch it again")


def _read_boxes(file: BinaryIO, where: str) -> Numbers:
    """Reads a MATLAB 7.3 file, which is HDF5.

    Group digitStruct holds references to names (UTF-16 codes) and to groups of
    boxes. A field of a box group is a number of one digit, or references to
    numbers of several.
    """
    numbers = {}
    with (
        tables.naming(where, "fetch it again", "is no readable file of boxes"),
        h5py.File(file, "r") as content,
    ):
        names, boxes = (
            content[f"digitStruct/{field}"][:, 0] for field in ("name", "bbox")
        )
        with progress.Display(where, len(names), "boxes") as display:
            for name, box in zip(names, boxes, strict=True):
                name = "".join(map(chr, content[name][:, 0]))
                numbers[name] = np.stack(
                    [_column(content, box, field) for field in FIELDS],
                    axis=1,
                )
                display.advance(1)
    for name, digits in numbers.items():
        labels, sizes = digits[:, 0], digits[:, 3:]
        if (
            "/" in name
            or not name.isprintable()
            or not np.isfinite(digits).all()
            or not np.isin(labels, np.arange(1, 11)).all()
            or sizes.min(initial=1) < 1
        ):
            raise errors.RawDataError(
                f"{where}: {name!r} must be a plain file name whose digits have"
                " labels 1 to 10 and boxes of at least a pixel; fetch the file"
                " again"
            )
    return numbers


def _column(content: h5py.File, box: h5py.Reference, field: str) -> list[float]:
    """One field of the digits of a house number."""
    values = content[box][field][:, 0]
    if values.dtype == object:
        return [float(content[value][0, 0]) for value in values]
    return [float(value) for value in values]


def _image_files(
    path: pathlib.Path, numbers: Numbers
) -> Iterator[tuple[str, bytes | OSError]]:
    """Names of those images that are there, and bytes or why there are none."""
    if path.is_dir():
        for name in numbers:
            try:
                with (path / name).open("rb") as file:
                    encoded = file.read(MAX_BYTES)
            except FileNotFoundError:
                continue
            except OSError as error:
                encoded = error
            yield name, encoded
        return
    for name, file in _members(path):
        if name in numbers:
            with _naming(path):
                encoded = file.read(MAX_BYTES)
            yield name, encoded


def _members(path: pathlib.Path) -> Iterator[tuple[str, BinaryIO]]:
    """Plain names and contents of an archive's files, in their order.

    It is read as a stream: in one pass, and never as a whole. Read a file
    before the next is asked for.
    """
    with _naming(path), tarfile.open(path, "r|gz") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # Else it remembers all that it has seen.
            if member.isfile():
                name = pathlib.PurePosixPath(member.name).name
                yield name, archive.extractfile(member)


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Names the archive in the errors of reading it."""
    with tables.naming(path, "fetch it again", "is cut short, or no .tar.gz"):
        yield


def _decode(encoded: bytes | OSError, name: str) -> np.ndarray:
    """uint8 `[H, W, 3]`.

    Raises:
        RawDataError: if it is no image.
    """
    if isinstance(encoded, OSError):
        raise errors.RawDataError(
            f"{name} cannot be read ({encoded.strerror}); fetch it again"
        )
    return images.decode(encoded, name)


def _check_boxes(image: np.ndarray, digits: np.ndarray, name: str) -> None:
    """Checks that every digit has a pixel of the image.

    Raises:
        RawDataError: if one has none.
    """
    for _, *box in digits:
        if not boxes.overlaps(image, square(*box)):
            top, left, height, width = box
            raise errors.RawDataError(
                f"{name} has {image.shape[1]} x {image.shape[0]} pixels (width"
                f" x height), but a box of {width:g} x {height:g} at x"
                f" {left:g}, y {top:g}; fetch it again"
            )


def _clip(clip_id: str, image: np.ndarray, digits: np.ndarray) -> dict:
    """Crops the digits, of which the label of '0' is 10."""
    frames = []
    for index, (label, *box) in enumerate(digits):
        crop = Image.fromarray(boxes.crop(image, square(*box)))
        digit = crop.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        encoded = images.encode_jpeg(np.asarray(digit))
        scale = np.divide(digit.size, crop.size)[::-1]
        frames.append(
            clips.frame(encoded, index, scale=scale, digit=int(label) % 10)
        )
    return clips.clip(clip_id, frames)


def square(top: float, left: float, height: float, width: float) -> boxes.Box:
    """The box of a digit, grown to a square on both sides alike.

    `top` and `left` are taken to count from 0, for SVHN's own see_bboxes.m
    adds 1 to them before it indexes.
    """
    side = max(height, width)
    return boxes.Box(
        top=round(top + (height - side) / 2),
        left=round(left + (width - side) / 2),
        height=round(side),
        width=round(side),
    )
