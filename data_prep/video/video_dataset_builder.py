"""Your own videos, with or without keypoints; see README.md."""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import math
import pathlib
import re

import numpy as np
import tensorflow_datasets as tfds

from data_prep import annotations
from data_prep import clip_builder
from data_prep import clips
from data_prep import held_out
from tflm import errors
from tflm.media import boxes
from tflm.media import crops
from tflm.media import file_names
from tflm.media import folders
from tflm.media import images
from tflm.media import videos

MAX_SIDE = 256  # Pixels of a stored frame, unless asked otherwise.
LEAST_TRAIN = 0.1  # Of the frames that the fractions leave to train on.
TEST_FRACTION = 0.2  # With keypoints, unless asked otherwise.
NOT_ANNOTATED = "images that are not annotated"
NOT_USED = "in a part that is not used for annotations"
_BLOCK = 8  # Clips that share a stretch of a video: each has every 8th frame.
_PLAIN_FRAME = re.compile(r"(.+):(\d+)")


@dataclasses.dataclass(frozen=True)
class View:
    """Which part of a frame is kept.

    Attributes:
        place: of the crop.
        max_side: larger crops are shrunk to it, pixels.
    """

    place: crops.Place
    max_side: int


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A source: frames start, start + stride, ... below end of a video."""

    name: str
    path: pathlib.Path
    start: int
    end: int
    stride: int
    view: View
    num_keypoints: int


@dataclasses.dataclass(frozen=True)
class Marked:
    """A source: annotated frames of a video, or annotated images.

    Attributes:
        name: of the video, or of what the images are said to show.
        path: of the video; of images, their folder.
        points: frame index, or path below that folder, to float `[rows, 2]`,
            (y, x), pixels.
        view: see `View`.
        stated: frame index or path to its size, where the annotations state
            it.
    """

    name: str
    path: pathlib.Path
    points: dict[int | str, np.ndarray]
    view: View
    stated: dict[int | str, annotations.Stated]


def _read(source: clip_builder.Source) -> Iterator[dict | errors.Broken]:
    """Reads a `Stretch` or a `Marked`."""
    spec = source.spec
    try:
        cutter = _Cutter(spec.view)
        if isinstance(spec, Stretch):
            yield from _read_stretch(spec, cutter)
        elif spec.path.is_dir():
            yield from _read_images(spec, cutter)
        else:
            yield from _read_frames(spec, cutter)
    except errors.RawDataError as error:
        yield errors.Broken(str(spec.path), str(error))


def _read_stretch(
    stretch: Stretch, cutter: "_Cutter"
) -> Iterator[dict | errors.Broken]:
    missing = np.full([clips.num_rows(stretch.num_keypoints), 2], np.nan)
    waiting = []
    for found in videos.frames(
        stretch.path, stretch.start, stretch.end, stretch.stride
    ):
        if broken := cutter.broken(stretch.path, found):
            yield broken
            continue
        where = f"{stretch.path}, frame {found.index}"
        if frame := cutter.frame(where, found.image, found.index, missing):
            waiting.append(frame)
        if len(waiting) == _BLOCK * clips.MAX_FRAMES:
            yield from _clips(stretch.name, waiting)
            waiting = []
    yield from _clips(stretch.name, waiting)


def _clips(name: str, frames: Sequence[dict]) -> Iterator[dict]:
    for part in clips.strided(frames):
        clip_id = f"{name}:{part[0]['index']}"
        yield clips.clip(clip_id, part, video=name)


def _read_frames(
    marked: Marked, cutter: "_Cutter"
) -> Iterator[dict | errors.Broken]:
    for found in videos.frames(marked.path, end=max(marked.points) + 1):
        if isinstance(found, errors.Broken):
            yield found
        elif found.index in marked.points:
            if broken := cutter.broken(marked.path, found):
                yield broken
                continue
            yield from _read_one(
                marked,
                cutter,
                found.index,
                f"{marked.path}, frame {found.index}",
                found.image,
            )


def _read_images(
    marked: Marked, cutter: "_Cutter"
) -> Iterator[dict | errors.Broken]:
    for name in marked.points:
        path = marked.path / name
        try:
            image = images.read_upright(path)
        except errors.RawDataError as error:
            yield errors.Broken(str(path), str(error))
            continue
        yield from _read_one(marked, cutter, name, str(path), image, path)


def _read_one(
    marked: Marked,
    cutter: "_Cutter",
    key: int | str,
    where: str,
    image: np.ndarray,
    path: pathlib.Path | None = None,
) -> Iterator[dict | errors.Broken]:
    """The clip of an annotated frame or image; a fault costs it alone.

    Args:
        marked: the source.
        cutter: for the frames of the source.
        key: of `marked.points`.
        where: for messages.
        image: uint8 `[H, W, 3]`.
        path: of the image; None: a frame of the video.
    """
    try:
        if key in marked.stated:
            marked.stated[key].check(where, image.shape[:2], path)
        annotations.check_size(where, image.shape[:2], marked.points[key], path)
        index = 0 if path else key
        frame = cutter.frame(where, image, index, marked.points[key])
    except errors.RawDataError as error:
        yield errors.Broken(where, str(error))
        return
    if frame is None:
        yield _unseen(marked, where)
    elif path is None:
        yield from _clips(marked.name, [frame])
    else:
        in_video = annotations.deeplabcut_frame(key)
        yield clips.clip(key, [frame], in_video[0] if in_video else "")


def _unseen(marked: Marked, where: str) -> errors.Broken:
    """In place of an annotated frame; without a word, scores would rise."""
    if marked.view.place.track is not None:
        return errors.Broken(
            where,
            f"{where} is annotated, but --boxes has no box there; add one,"
            " remove the annotation, or pass --skip_broken to leave it out",
        )
    return errors.Broken(
        where,
        f"{where}: nothing that moves is found, or the size is not that of"
        f" {marked.view.place.follows.name}; remove its annotation, give"
        " --boxes in place of --motion_crop, or pass --skip_broken to leave it"
        " out",
    )


class _Cutter:
    """Crops, shrinks and encodes frames."""

    def __init__(self, view: View):
        self._cropper = crops.Cropper(view.place)
        self._max_side = view.max_side

    def broken(
        self, path: pathlib.Path, found: videos.Frame | errors.Broken
    ) -> errors.Broken | None:
        """What a video has in place of a frame that can be used, if so."""
        if isinstance(found, errors.Broken):
            return found
        where = f"{path}, frame {found.index}"
        problem = found.problem or self._cropper.misfit(where, found.image)
        return errors.Broken(where, problem) if problem else None

    def frame(
        self, where: str, image: np.ndarray, index: int, points: np.ndarray
    ) -> dict | None:
        """A frame of a clip; None if the crop is nowhere in this one.

        Args:
            where: of which video or image, for messages.
            image: uint8 `[H, W, 3]`.
            index: in its video.
            points: float `[rows, 2]`, (y, x), pixels of `image`.

        Raises:
            RawDataError: if the fixed crop is outside the image, or a point
                far from it.
        """
        box = self._cropper.box(where, image, index)
        if box is None:
            return None
        image = boxes.crop(image, box)
        points = boxes.crop_points(points, box)
        image, scale = images.shrink(image, self._max_side)
        points = images.shrink_points(points, scale)
        return clips.frame(images.encode_jpeg(image), index, points, scale)


class Builder(clip_builder.ClipBuilder):
    """Clips of frames of video files.

    Args:
        stride: every so many-th frame is kept.
        start: the first frame of every video that is used.
        end: the frame of every video to stop before; None: its end.
        crop: see `crops.Options`.
        boxes: likewise.
        motion_crop: likewise.
        max_side: larger crops are shrunk to it, pixels.
        keypoints: see `annotations.read`; an image is a file below the raw
            folder, or VIDEO:FRAME, or labeled-data/VIDEO/imgFRAME.png.
        val_fraction: of the videos, or of each; 0: no split `val`.
        test_fraction: likewise; None: TEST_FRACTION with keypoints, else 0.

    Raises:
        RawDataError: if an option has no sense, or a file of theirs cannot be
            read.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The scale of every frame."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder of your videos ({', '.join(videos.SUFFIXES)}), in"
        " sub-folders or not"
    )
    MAY_SHARE = (
        frozenset(("train", "annotated_train")),
        frozenset(("test", "annotated_test")),
    )
    read = staticmethod(_read)

    def __init__(
        self,
        *,
        stride: int = 1,
        start: int = 0,
        end: int | None = None,
        crop: str | None = None,
        boxes: str | None = None,
        motion_crop: bool = False,
        max_side: int = MAX_SIDE,
        keypoints: str | None = None,
        val_fraction: float = 0.0,
        test_fraction: float | None = None,
        **kwargs,
    ):
        if stride < 1 or start < 0 or (end is not None and end <= start):
            raise errors.RawDataError(
                f"--stride={stride}, --start={start}, --end={end} must be at"
                " least 1, at least 0, and more than --start"
            )
        if max_side < 1:
            raise errors.RawDataError(f"--max_side={max_side} must be positive")
        self._stride, self._start, self._end = stride, start, end
        self._crops = crops.Options(crop, boxes, motion_crop)
        self._max_side = max_side
        self._given = (boxes, keypoints)
        self._annotations = annotations.read(keypoints)
        self._fractions = held_out.fractions(
            val_fraction, test_fraction, self._annotations, TEST_FRACTION
        )
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        num_keypoints = len(self._annotations.keypoint_names)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Videos.",
            features=clips.features(num_keypoints),
            metadata=held_out.metadata(
                self._fractions, self._annotations, self._crops.flag
            ),
        )

    def sources(
        self, raw_dir: pathlib.Path
    ) -> dict[str, list[clip_builder.Source]]:
        names, stills, left_out = self._names(raw_dir)
        self._check_boxes(raw_dir, names, stills)
        frames = _frames_of(self._annotations.names(), names, stills)
        annotated = self._annotations.check(
            [*stills, *frames], raw_dir, self._skip_broken, "image or video"
        )
        left_out[NOT_ANNOTATED] = [s for s in stills if not annotated.has(s)]
        self.count(f"{raw_dir}: {len(names)} videos", left_out)
        whole = {name: self._range(raw_dir / name) for name in names}
        places = self._places(raw_dir, annotated, frames, whole)
        stretches = self._stretches(whole, set(places.values()))
        sources = {
            split: [
                self._source(raw_dir, name, frames)
                for name, frames in parts.items()
                if frames
            ]
            for split, parts in stretches.items()
        }
        if self._annotations.keypoint_names:
            sources |= self._marked_sources(
                raw_dir, annotated, places, stretches
            )
            self.counts.append(annotated.counts())
        return sources

    def _names(
        self, raw_dir: pathlib.Path
    ) -> tuple[list[str], list[str], dict[str, list[str]]]:
        """Lists the raw folder.

        Returns:
            Paths of the videos, and of the images, below `raw_dir`, sorted; and
            what is left out, see `folders.Listing`.
        """
        listed = self.listing(
            raw_dir, (*videos.SUFFIXES, *images.SUFFIXES), self._given
        )
        names, stills = [], []
        for name in listed.names:
            if broken := clip_builder.broken_name(raw_dir / name, name):
                self.leave_out(broken)
            elif pathlib.PurePath(name).suffix.lower() in videos.SUFFIXES:
                names.append(name)
            else:
                stills.append(name)
        if not names:
            words = folders.in_words(listed.left_out)
            raise errors.RawDataError(
                f"{raw_dir} holds no video ({', '.join(videos.SUFFIXES)});"
                f" {words}{'; ' if words else ''}give the folder of your videos"
                " as --raw_dir"
            )
        return names, stills, dict(listed.left_out)

    def _check_boxes(
        self, raw_dir: pathlib.Path, names: list[str], stills: list[str]
    ) -> None:
        """Checks that --boxes and the files of the raw folder fit."""
        if self._crops.tracks is None:
            return
        unknown = self._crops.tracks.check(
            [*names, *stills], names, self._skip_broken
        )
        beyond = []
        for name in names:
            path = raw_dir / name
            # A video that is broken is met again when it is read.
            with contextlib.suppress(errors.RawDataError):
                track = self._crops.tracks.boxes(name)
                if problem := crops.beyond_end(track, path):
                    beyond.append((name, problem))
        if beyond and not self._skip_broken:
            more = f" ({len(beyond) - 1} more likewise)" if beyond[1:] else ""
            raise errors.RawDataError(
                f"{beyond[0][1]}, or pass --skip_broken to leave out what is"
                f" beyond the end{more}"
            )
        num_known = self._crops.tracks.num_videos - len(unknown)
        self.count(
            f"{self._given[0]}: boxes of {num_known} videos or images",
            {
                "without a video": unknown,
                "beyond the end of their video": [name for name, _ in beyond],
            },
        )

    def _places(
        self,
        raw_dir: pathlib.Path,
        annotated: annotations.Annotations,
        frames: dict[str, tuple[str, int]],
        whole: dict[str, range],
    ) -> dict[str, tuple[str, int]]:
        """Maps what is annotated to its video and frame, if that is known.

        Args:
            raw_dir: of the videos.
            annotated: the keypoints.
            frames: see `_frames_of`.
            whole: video to its frames that are used.
        """
        places = {}
        late = []
        for name in annotated.names():
            if name in frames:
                video, index = frames[name]
                num_frames = _num_frames_of(raw_dir / video)
                if num_frames is not None and index >= num_frames:
                    late.append((name, f"{video} has {num_frames} frames"))
                else:
                    places[name] = (video, index)
            elif frame := annotations.deeplabcut_frame(name):
                video = _video_of_folder(name, list(whole))
                if video and frame[1] in whole[video]:
                    places[name] = (video, frame[1])
        if late and not self._skip_broken:
            described = [f"{name}: {why}" for name, why in late]
            raise errors.RawDataError(
                f"{self._given[1]}: {len(late)} annotated frames are beyond the"
                f" end of their video ({folders.first_few(described)}); correct"
                " or remove these annotations, or pass --skip_broken to leave"
                " them out"
            )
        for name, _ in late:
            annotated.leave_out("beyond the end of their video", name)
        return places

    def _stretches(
        self, whole: dict[str, range], places: Collection[tuple[str, int]]
    ) -> dict[str, dict[str, range]]:
        """Maps split to video to its frames, without the stride.

        Whole videos are held out if there are enough of them, the last by
        name; else the last stretch of every video. If frames are annotated,
        the test takes its share of those: only videos that have some, or the
        stretches of their last ones; and val takes videos that have none first.

        Args:
            whole: video to its frames that are used.
            places: annotated frames: video and index.
        """
        shares = {name: part for name, part in self._fractions.items() if part}
        marked = {name: [] for name in whole}
        for name, index in sorted(places):
            if index in whole[name]:
                marked[name].append(index)
        found = {"train": {}, **{split: {} for split in shares}}
        rest = dict(whole)
        for split, share in reversed(shares.items()):
            pool = sorted(rest, key=lambda name: not marked[name])
            if split == "test":
                pool = [name for name in pool if marked[name]] or pool
            count = math.ceil(share * len(pool))
            if count < len(pool):
                found[split] = {n: rest.pop(n) for n in sorted(pool[-count:])}
                continue
            for name in pool:
                frames, indices = rest[name], marked[name]
                start = max(0, len(frames) - round(share * len(whole[name])))
                if split == "test" and indices:
                    first = indices[-math.ceil(share * len(indices))]
                    start = first - frames.start
                found[split][name] = frames[start:]
                rest[name] = frames[:start]
        found["train"] = rest
        num_train, num_all = (
            sum(map(len, parts.values())) for parts in (rest, whole)
        )
        if num_train < LEAST_TRAIN * (1.0 - sum(shares.values())) * num_all:
            raise errors.RawDataError(
                f"{num_train} of {num_all} frames are left to train on: the"
                " test takes all from the first annotated frame of its share"
                " on, and the annotated ones lie early; annotate later ones,"
                " too, or lower --test_fraction"
            )
        return found

    def _range(self, path: pathlib.Path) -> range:
        """Frames of a video that are used; one of a broken video."""
        try:
            count = _num_frames(path)
        except errors.RawDataError:  # It is met again when it is read.
            return range(self._start, self._start + 1)
        return range(self._start, min(count, self._end or count))

    def _source(
        self, raw_dir: pathlib.Path, name: str, frames: range
    ) -> clip_builder.Source:
        return clip_builder.Source(
            f"{name}, frame {frames.start}",
            len(frames[:: self._stride]),
            Stretch(
                name,
                raw_dir / name,
                frames.start,
                frames.stop,
                self._stride,
                self._view(raw_dir, name),
                len(self._annotations.keypoint_names),
            ),
        )

    def _view(self, raw_dir: pathlib.Path, name: str) -> View:
        return View(self._crops.place(name, raw_dir / name), self._max_side)

    def _marked_sources(
        self,
        raw_dir: pathlib.Path,
        annotated: annotations.Annotations,
        places: dict[str, tuple[str, int]],
        stretches: dict[str, dict[str, range]],
    ) -> dict[str, list[clip_builder.Source]]:
        """Sources of annotated_train and, if there is a test, annotated_test.

        An annotated frame goes where its stretch of the video goes, and an
        image of a folder named like a video where all of that video goes. Other
        images are cut in two, in the order of their names.

        Args:
            raw_dir: of the videos.
            annotated: the keypoints.
            places: see `_places`.
            stretches: see `_stretches`.

        Raises:
            RawDataError: if one of the two is empty.
        """
        videos_of = {
            name: [split for split in stretches if name in stretches[split]]
            for name in sorted(set().union(*stretches.values()))
        }
        # Split -> video and kind -> key of Marked.points -> annotated name.
        marked = {s: {} for s in ("train", "test") if s in stretches}
        unplaced, unused = [], []
        for name in sorted(filter(annotated.has, annotated.names())):
            if name in places:
                video, index = places[name]
                is_frame = not (raw_dir / name).is_file()
                splits = [
                    split
                    for split in videos_of[video]
                    if index in stretches[split][video] and split in marked
                ]
                for split in splits:
                    part = marked[split].setdefault((video, is_frame), {})
                    key = index if is_frame else name
                    part[key] = name
                if not splits:
                    unused.append(name)
                continue
            video = _video_of_folder(name, videos_of)
            if len(videos_of.get(video, ())) != 1:
                unplaced.append(name)
                continue
            (split,) = videos_of[video]
            if split in marked:
                marked[split].setdefault((video, False), {})[name] = name
            else:
                unused.append(name)
        num_test = math.ceil(self._fractions["test"] * len(unplaced))
        for number, name in enumerate(unplaced):
            split = "train" if number < len(unplaced) - num_test else "test"
            video = _video_of_folder(name, videos_of) or next(iter(videos_of))
            marked[split].setdefault((video, False), {})[name] = name
        for split, parts in marked.items():
            if not parts:
                raise errors.RawDataError(
                    f"no annotated frame or image of {raw_dir} falls into"
                    f" split annotated_{split}; annotate more of them, or"
                    " change --test_fraction"
                )
        sources = {
            f"annotated_{split}": [
                source
                for (video, is_frames), keys in parts.items()
                for source in self._part_sources(
                    raw_dir, split, video, is_frames, keys, annotated
                )
            ]
            for split, parts in marked.items()
        }
        for name in unused:
            annotated.leave_out(NOT_USED, name)
        return sources

    def _part_sources(
        self,
        raw_dir: pathlib.Path,
        split: str,
        video: str,
        is_frames: bool,
        keys: dict[int | str, str],
        annotated: annotations.Annotations,
    ) -> list[clip_builder.Source]:
        """The annotated frames or images of a video that are in a split.

        One source, or one per image if each has a box of its own.

        Args:
            raw_dir: of the videos.
            split: "train" or "test".
            video: see `Marked.name`.
            is_frames: whether they are frames, not images.
            keys: key of `Marked.points` to the name in `annotated`.
            annotated: the keypoints.
        """

        def marked(path: pathlib.Path, view_of: str, keys) -> Marked:
            return Marked(
                view_of,
                path,
                {key: annotated.points(name) for key, name in keys.items()},
                self._view(raw_dir, view_of),
                {
                    key: stated
                    for key, name in keys.items()
                    if (stated := annotated.stated(name))
                },
            )

        if is_frames or self._crops.tracks is None:
            path = raw_dir / video if is_frames else raw_dir
            kind = "frames" if is_frames else "images"
            return [
                clip_builder.Source(
                    f"annotated {split} {kind} of {video}",
                    len(keys),
                    marked(path, video, keys),
                )
            ]
        return [
            clip_builder.Source(name, 1, marked(raw_dir, name, {name: name}))
            for name in keys.values()
        ]


@functools.lru_cache
def _num_frames(path: pathlib.Path) -> int:
    """As of `videos`; it may read all of the file."""
    return videos.num_frames(path)


def _num_frames_of(path: pathlib.Path) -> int | None:
    """None if the video is broken, which is met again when it is read."""
    try:
        return _num_frames(path)
    except errors.RawDataError:
        return None


def _frames_of(
    annotated: Sequence[str], names: Sequence[str], images: Sequence[str]
) -> dict[str, tuple[str, int]]:
    """Maps what is annotated to a video and a frame, unless it is an image.

    Args:
        annotated: names of the annotations.
        names: of the videos.
        images: paths of image files.
    """
    finder = file_names.Finder(images, by_ending=True)
    composed = {name: file_names.composed(name) for name in names}
    found = {}
    for name in annotated:
        if finder.find(name):
            continue
        if match := _PLAIN_FRAME.fullmatch(name):
            shown, index = match[1], int(match[2])
        elif frame := annotations.deeplabcut_frame(name):
            shown, index = frame
        else:
            continue
        shown = file_names.composed(shown)
        fitting = [
            video
            for video, text in composed.items()
            if shown in (text, pathlib.PurePosixPath(text).stem)
            or text.endswith(f"/{shown}")
        ]
        if len(fitting) == 1:
            found[name] = (fitting[0], index)
    return found


def _video_of_folder(image: str, names: Sequence[str]) -> str | None:
    """The only video named like the folder of an image, if there is one."""
    folder = file_names.composed(pathlib.PurePosixPath(image).parent.name)
    fitting = [
        video
        for video in names
        if file_names.composed(pathlib.PurePosixPath(video).stem) == folder
    ]
    return fitting[0] if len(fitting) == 1 else None
