"""Images and frames of videos to find landmarks in, one at a time."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import os
import pathlib

import numpy as np

from tflm import errors
from tflm.media import boxes
from tflm.media import crops
from tflm.media import images
from tflm.media import videos

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff",
)  # fmt: skip
OVERLAY = "_overlay"  # What the names of drawings end with.
VIDEO_SUFFIXES = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Frame:
    """An image, or a frame of a video, as it is meant to be seen."""

    index: str | int  # An image's path, or a frame's number from 0.
    file_name: str  # Also of a frame: VIDEO:NUMBER.
    image_size: tuple[int, int]  # (height, width), pixels, at least 2 x 2.
    image: np.ndarray | None  # uint8 [H, W, 3], RGB; None: not kept.
    box: boxes.Box | None  # What is looked at; None: it is nowhere.

    def without_image(self) -> "Frame":
        """The same, for a place where pixels are not needed any more."""
        return dataclasses.replace(self, image=None)


@dataclasses.dataclass(frozen=True)
class Images:
    """Images whose landmarks go into one table."""

    name: str  # Of what is written.
    root: str  # Their paths are below it.
    paths: list[str]  # With forward slashes; strings, as there may be many.
    place: crops.Place = crops.Place()


@dataclasses.dataclass(frozen=True)
class Video:
    """A video; it has a table of its own."""

    name: str  # Of what is written.
    root: str
    path: str  # Below `root`.
    place: crops.Place = crops.Place()


Source = Images | Video


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which frames of a video are taken; all images are."""

    start: int = 0
    end: int | None = None  # The first that is not; None: the end.
    stride: int = 1


ALL_FRAMES = Selection()


def find(inputs: Sequence[str], output_dir: str | os.PathLike) -> list[Source]:
    """Finds out what there is to predict.

    Args:
        inputs: image files, which share a table; folders, each with a table of
            the images below it, sorted by path; and videos, also in those
            folders. A file that is named itself and has no ending of an image
            is taken for a video. Hidden files and folders are passed over.
        output_dir: also passed over, or if it is one of the folders its
            drawings NAME_overlay and NAME_overlay.mp4.

    Returns:
        What has a table; their names differ.

    Raises:
        errors.UserError: if an input does not exist or a folder is empty.
    """
    files, found = [], []
    for path in dict.fromkeys(map(pathlib.Path, inputs)):
        if path.is_dir():
            found += _in_folder(path, pathlib.Path(output_dir))
        elif not path.exists():
            raise errors.UserError(
                f"{path} does not exist; give image files, folders of them, or"
                " videos"
            )
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            files.append(path.as_posix())
        else:
            found.append(Video(path.stem, str(path.parent), path.name))
    if files:
        found.insert(0, Images("images", "", files))
    if not found:
        raise errors.UserError(
            "nothing to predict; give image files, folders of them, or videos"
        )
    return _with_names_of_their_own(found)


def cropped(
    sources: Sequence[Source],
    crop: str | None,
    boxes: str | None,
    motion_crop: bool,
) -> list[Source]:
    """The same sources, cropped as data_prep crops videos.

    Args:
        sources: see `find`.
        crop: see `crops.Options`.
        boxes: likewise; a video's name in it is its path below the folder that
            was given, or its own name.
        motion_crop: likewise.

    Raises:
        errors.UserError: if an option has no sense, or images are to be
            cropped like videos.
    """
    try:
        options = crops.Options(crop, boxes, motion_crop)
        names = [one.path for one in sources if isinstance(one, Video)]
        if options.tracks and names:
            options.tracks.check(names, names)
    except errors.RawDataError as error:
        raise errors.UserError(str(error)) from error
    with_places = []
    for source in sources:
        if isinstance(source, Images):
            if boxes is not None or motion_crop:
                flag = "--motion_crop" if motion_crop else f"--boxes={boxes}"
                image = pathlib.Path(source.root, source.paths[0])
                raise errors.UserError(
                    f"{flag} is for videos, and {image} is an image; name the"
                    " videos alone"
                )
            place = options.place("", pathlib.Path())
        else:
            path = pathlib.Path(source.root, source.path)
            place = options.place(source.path, path)
        with_places.append(dataclasses.replace(source, place=place))
    return with_places


def count(source: Source, selection: Selection) -> int:
    """How many frames there will be, or what a video's container promises.

    Raises:
        errors.RawDataError: if the video does not open.
    """
    if isinstance(source, Images):
        return len(source.paths)
    promised = videos.num_frames(pathlib.Path(source.root, source.path))
    end = promised if selection.end is None else min(promised, selection.end)
    return len(range(selection.start, end, selection.stride))


def read(
    source: Source, selection: Selection
) -> Iterator[Frame | errors.Broken]:
    """Decodes one image after the other, as they are asked for.

    Yields:
        A frame, or an image file that does not decode.

    Raises:
        errors.RawDataError: if a video does not decode to its end, or its crop
            has no sense.
    """
    cropper = crops.Cropper(source.place)
    if isinstance(source, Images):
        for name in source.paths:
            try:
                image = images.read_upright(pathlib.Path(source.root, name))
                frame = _frame(name, name, image, source.root, cropper, 0)
            except errors.RawDataError as error:
                frame = errors.Broken(name, str(error))
            yield frame
        return
    for index, image in videos.frames(
        pathlib.Path(source.root, source.path),
        selection.start,
        selection.end,
        selection.stride,
    ):
        name = f"{source.path}:{index}"
        yield _frame(index, name, image, source.root, cropper, index)


def _frame(
    index: str | int,
    file_name: str,
    image: np.ndarray,
    root: str,
    cropper: crops.Cropper,
    number: int,
) -> Frame:
    where = str(pathlib.Path(root, file_name))
    box = cropper.box(where, image, number)
    height, width = (box.height, box.width) if box else image.shape[:2]
    if min(height, width) < 2:
        raise errors.RawDataError(
            f"{where} has {height} x {width} pixels, too few for landmarks;"
            " replace it"
        )
    return Frame(index, file_name, image.shape[:2], image, box)


def _in_folder(folder: pathlib.Path, output_dir: pathlib.Path) -> list[Source]:
    images, others = [], []
    written = output_dir.resolve()
    is_mixed = folder.resolve() == written  # Drawings are beside the inputs.
    for parent, folders, names in os.walk(folder):
        # Walking goes on in what stays in the list, in its order.
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and pathlib.Path(parent, name).resolve() != written
            and not (is_mixed and name.endswith(OVERLAY))
        ]
        below = pathlib.Path(parent).relative_to(folder)
        for name in names:
            if name.startswith("."):
                continue
            if is_mixed and name.endswith(f"{OVERLAY}.mp4"):
                continue
            suffix = pathlib.PurePath(name).suffix.lower()
            if suffix in IMAGE_SUFFIXES:
                images.append((below / name).as_posix())
            elif suffix in VIDEO_SUFFIXES:
                others.append((below / name).as_posix())
    if not images and not others:
        raise errors.UserError(
            f"{folder} holds no image ({', '.join(IMAGE_SUFFIXES)}) and no"
            f" video ({', '.join(VIDEO_SUFFIXES)}); give another folder"
        )
    found = []
    if images:
        name = folder.resolve().name or "images"
        found.append(Images(name, str(folder), sorted(images)))
    for path in sorted(others):
        name = pathlib.PurePosixPath(path).with_suffix("").as_posix()
        found.append(Video(name, str(folder), path))
    return found


def _with_names_of_their_own(sources: list[Source]) -> list[Source]:
    """Appends _2, _3, ... to names that are taken already."""
    renamed, taken = [], set()
    for source in sources:
        name, number = source.name, 1
        while name in taken:
            number += 1
            name = f"{source.name}_{number}"
        taken.add(name)
        renamed.append(dataclasses.replace(source, name=name))
    return renamed
