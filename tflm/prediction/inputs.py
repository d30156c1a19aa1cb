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
from tflm.media import folders
from tflm.media import images
from tflm.media import kinds
from tflm.media import videos

_LONGEST = 200  # Bytes of a name; file systems take 255, endings included.
OVERLAY = "_overlay"  # What the names of drawings end with.


@dataclasses.dataclass(frozen=True)
class Frame:
    """An image, or a frame of a video, as it is meant to be seen."""

    index: str | int  # An image's path, or a frame's number from 0.
    file_name: str  # Also of a frame: VIDEO:NUMBER.
    image_size: tuple[int, int]  # (height, width), pixels, at least 2 x 2.
    image: np.ndarray | None  # uint8 [H, W, 3], RGB; None: not kept.
    box: boxes.Box | None  # What is looked at; None: it is nowhere.
    seconds: float = 0.0  # When the video shows it.
    problem: str = ""  # Why there is nothing to look at: the frame is damaged.

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
class Inputs:
    """What was asked for.

    Attributes:
        sources: what has a table.
        broken: what was named and cannot be used.
        left_out: what was not named, but is in the folders; see `folders`.
    """

    sources: list[Source]
    broken: list[errors.Broken]
    left_out: dict[str, list[str]]

    def with_sources(self, sources: list[Source]) -> "Inputs":
        """The same, of which other parts of frames are looked at."""
        return dataclasses.replace(self, sources=sources)


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which frames of a video are taken; all images are."""

    start: int = 0
    end: int | None = None  # The first that is not; None: the end.
    stride: int = 1


ALL_FRAMES = Selection()


def find(named: Sequence[str], output_dir: str | os.PathLike) -> Inputs:
    """Finds out what there is to predict.

    Args:
        named: image files, which share a table; folders, each with a table of
            the images below it, sorted by path; and videos, also in those
            folders. A file that is named itself may have any ending: one that
            is neither of an image nor of a video is taken for a video, unless
            its first bytes tell that it is an image.
        output_dir: passed over, or if it is one of the folders its drawings
            NAME_overlay and NAME_overlay.mp4.

    Returns:
        What has a table, with names of their own, and what has none.

    Raises:
        errors.UserError: if nothing can be used.
    """
    paths, sources, broken, left_out = [], [], [], {}
    for path in dict.fromkeys(map(pathlib.Path, named)):
        try:
            if path.is_dir():
                found = _in_folder(path, pathlib.Path(output_dir))
                sources += found.sources
                for reason, names in found.left_out.items():
                    below = [(path / name).as_posix() for name in names]
                    left_out.setdefault(reason, []).extend(below)
            elif _is_image(path):
                paths.append(path.as_posix())
            else:
                sources.append(Video(path.stem, str(path.parent), path.name))
        except errors.RawDataError as error:
            broken.append(errors.Broken(str(path), str(error)))
        except OSError as error:  # Its folder is closed, for example.
            message = (
                f"{path} cannot be read ({error.strerror}); give files that you"
                " may read"
            )
            broken.append(errors.Broken(str(path), message))
    if paths:
        sources.insert(0, Images("images", "", paths))
    if not sources:
        raise errors.UserError(
            broken[0].message
            if broken
            else "nothing to predict; give image files, folders of them, or"
            " videos"
        )
    return Inputs(_with_names_of_their_own(sources), broken, left_out)


def _is_image(path: pathlib.Path) -> bool:
    """Tells images from videos.

    Raises:
        errors.RawDataError: if the file is neither, as far as one can tell.
        OSError: if it cannot be read.
    """
    if not path.exists():
        raise errors.RawDataError(
            f"{path} does not exist; give image files, folders of them, or"
            " videos"
        )
    if not path.is_file():
        raise errors.RawDataError(
            f"{path} is no file; give image files, folders of them, or videos"
        )
    suffix = path.suffix.lower()
    if suffix in images.SUFFIXES or suffix in videos.SUFFIXES:
        return suffix in images.SUFFIXES
    with open(path, "rb") as file:
        kind = kinds.kind_of(file.read(kinds.NUM_BYTES))
    return kind is not None and not kind.is_video


def cropped_as_trained(
    sources: Sequence[Source], frame_crop: str
) -> tuple[list[Source], str]:
    """The same sources, cropped as the frames were that a model learned from.

    Args:
        sources: see `find`.
        frame_crop: see `configs.DataConfig`.

    Returns:
        The sources, and a line that says what the model expects; "" if whole
        frames. Images are left whole where the crop follows a track.

    Raises:
        errors.UserError: if a video has no box in the file of boxes that the
            model's data were cropped by.
    """
    if not frame_crop:
        return list(sources), ""
    if not frame_crop.startswith("--"):
        return list(sources), (
            f"the model was trained on crops: {frame_crop}; if your images are"
            " not cropped like that, crop them first, or give --crop or --boxes"
        )
    flag, _, value = frame_crop.partition("=")
    line = f"cropped like what the model was trained on, by {frame_crop}"
    videos_alone = [one for one in sources if isinstance(one, Video)]
    if flag == "--crop":
        found = cropped(sources, value, None, False)
    else:
        try:
            if flag == "--boxes":
                of_videos = cropped(videos_alone, None, value, False)
            else:
                of_videos = cropped(videos_alone, None, None, True)
        except errors.UserError as error:
            raise errors.UserError(
                f"the model was trained on crops by {frame_crop}; give --boxes"
                " with boxes of these videos, or --crop=none for whole frames"
                f" ({error})"
            ) from error
        images_alone = [one for one in sources if isinstance(one, Images)]
        found = [*images_alone, *of_videos]
        if images_alone:
            line += " (videos alone: cut your images out alike)"
    return found, f"{line}; --crop=none takes whole frames"


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
    options = crops.Options(crop, boxes, motion_crop)
    names = [one.path for one in sources if isinstance(one, Video)]
    if options.tracks and names:
        options.tracks.check(names, names)
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
    """How many frames there will be.

    Raises:
        errors.RawDataError: if the video does not open.
    """
    if isinstance(source, Images):
        return len(source.paths)
    end = videos.num_frames(pathlib.Path(source.root, source.path))
    end = end if selection.end is None else min(end, selection.end)
    return len(range(selection.start, end, selection.stride))


def read(
    source: Source, selection: Selection
) -> Iterator[Frame | errors.Broken]:
    """Decodes one image after the other, as they are asked for.

    Yields:
        A frame, also of a video one that is damaged; or an image file that does
        not decode, or that a video is cut off or its boxes go beyond its end.

    Raises:
        errors.RawDataError: if a video does not decode, or its crop has no
            sense.
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
    path = pathlib.Path(source.root, source.path)
    beyond_end = crops.beyond_end(source.place.track, path)
    waiting, size = [], None  # Damaged ones have the size of the next or last.
    for found in videos.frames(
        path, selection.start, selection.end, selection.stride
    ):
        if isinstance(found, errors.Broken):
            yield found
            continue
        index, image, problem = found.index, found.image, found.problem
        name = f"{source.path}:{index}"
        if image is not None:
            size = image.shape[:2]
            problem = cropper.misfit(f"{path}, frame {index}", image)
        if problem:
            frame = Frame(index, name, size, image, None)
        else:
            frame = _frame(index, name, image, source.root, cropper, index)
        waiting.append(
            dataclasses.replace(frame, seconds=found.seconds, problem=problem)
        )
        if size is not None:
            for frame in waiting:
                yield dataclasses.replace(
                    frame, image_size=frame.image_size or size
                )
            waiting.clear()
    if waiting:
        raise errors.RawDataError(waiting[0].problem)
    if beyond_end:
        yield errors.Broken(str(path), beyond_end)


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


def _in_folder(folder: pathlib.Path, output_dir: pathlib.Path) -> Inputs:
    written = output_dir.resolve()
    is_mixed = folder.resolve() == written  # Drawings are beside the inputs.

    def is_foreign(path: pathlib.Path) -> bool:
        is_folder = path.is_dir()
        if is_mixed:
            end = OVERLAY if is_folder else f"{OVERLAY}.mp4"
            return path.name.endswith(end)
        return is_folder and path.resolve() == written

    listing = folders.listing(
        folder, (*images.SUFFIXES, *videos.SUFFIXES), is_foreign
    )
    if not listing.names:
        left_out = folders.in_words(listing.left_out)
        raise errors.RawDataError(
            f"{folder} holds no image ({', '.join(images.SUFFIXES)}) and no"
            f" video ({', '.join(videos.SUFFIXES)})"
            f"{left_out and f', {left_out}'}; give another folder"
        )
    paths, sources = [], []
    for name in listing.names:
        path = pathlib.PurePosixPath(name)
        if path.suffix.lower() in images.SUFFIXES:
            paths.append(name)
        else:
            of_table = path.with_suffix("").as_posix()
            sources.append(Video(of_table, str(folder), name))
    if paths:
        name = folder.resolve().name or "images"
        sources.insert(0, Images(name, str(folder), paths))
    return Inputs(sources, [], listing.left_out)


def _with_names_of_their_own(sources: list[Source]) -> list[Source]:
    """Names that can be written; _2, _3, ... follows one that is taken."""
    renamed, taken = [], set()
    for source in sources:
        stem, number = _short(source.name), 1
        name = stem
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        renamed.append(dataclasses.replace(source, name=name))
    return renamed


def _short(name: str) -> str:
    """Cuts the last part of a name, so that endings can follow it."""
    path = pathlib.PurePosixPath(name)
    encoded = os.fsencode(path.name)
    if len(encoded) <= _LONGEST:
        return name
    cut = encoded[:_LONGEST].decode(errors="ignore")
    return str(path.with_name(cut or "_"))
