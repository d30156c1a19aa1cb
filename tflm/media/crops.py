"""Where a frame is cropped: nowhere, at a fixed place, or along a track."""

import bisect
import collections
import dataclasses
import pathlib

import numpy as np
from PIL import Image
import scipy.ndimage

from tflm import errors
from tflm.media import boxes
from tflm.media import file_names
from tflm.media import folders
from tflm.media import tables
from tflm.media import videos

BOX_COLUMNS = ("video", "frame", "top", "left", "height", "width")
NUM_SAMPLES = 60  # Frames that the background is the median of.
MOTION_SIDE = 160  # Pixels of the longer side where motion is looked for.
BLUR = 3  # Pixels of that image; a moving thing is larger.
NUM_DEVIATIONS = 6.0  # Above the still background's noise.
LEAST_DIFFERENCE = 12.0  # Grey levels; compression alone changes a few.
LENGTH_PERCENTILE = 95.0  # Of the moving thing, over the sampled frames.
MARGIN = 1.2  # Side of the crop over that length.
_MOST_PIXELS = 1e6  # Of a number in a file of boxes.
_MOST_TIMES = 10  # Side of a crop over that of the image.


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the frames of one video are cropped: in one of these ways, or not.

    Attributes:
        box: the same of all frames, or None.
        track: see `Tracks.boxes`; None: there are no tracks.
        follows: the video whose moving thing is followed, or None.
    """

    box: boxes.Box | None = None
    track: dict[int, list[float]] | None = None
    follows: pathlib.Path | None = None


class Options:
    """How the frames of all videos are cropped.

    Attributes:
        flag: the flag that asks for it, such as "--motion_crop"; "" if all of
            a frame is kept.
        tracks: of `boxes`, or None.

    Args:
        crop: "top,left,height,width", pixels: the part of every frame that is
            kept; None: all of it.
        boxes: CSV file with a box of some frames, see `Tracks`; or None.
        motion_crop: whether the crop follows what moves, see `Motion`.

    Raises:
        RawDataError: if more than one of them is given, or one has no sense.
    """

    def __init__(self, crop: str | None, boxes: str | None, motion_crop: bool):
        if sum((crop is not None, boxes is not None, motion_crop)) > 1:
            raise errors.RawDataError(
                "--crop, --boxes and --motion_crop: give one of them"
            )
        self.flag = "--motion_crop" if motion_crop else ""
        if crop is not None:
            self.flag = f"--crop={crop}"
        elif boxes is not None:
            self.flag = f"--boxes={boxes}"
        self.tracks = Tracks(boxes) if boxes is not None else None
        self._box = _parsed(crop) if crop is not None else None
        self._follows_motion = motion_crop

    def place(self, name: str, path: pathlib.Path) -> Place:
        """Of a video.

        Args:
            name: as `boxes` has it.
            path: of the file.
        """
        return Place(
            self._box,
            self.tracks.boxes(name) if self.tracks else None,
            path if self._follows_motion else None,
        )


class Cropper:
    """Finds the crop of one frame after the other.

    Args:
        place: of their video.

    Raises:
        RawDataError: see `Motion`.
    """

    def __init__(self, place: Place):
        self._place = place
        self._motion = Motion(place.follows) if place.follows else None
        self._size: tuple[int, int] | None = None  # Of the video's frames.

    def misfit(self, where: str, image: np.ndarray) -> str:
        """Says that a frame cannot be cropped like those before it.

        Args:
            where: which frame, for the message.
            image: uint8 `[H, W, 3]`, a frame of the video.

        Returns:
            "" if it has the size of those before it, or is not cropped at all.
        """
        if self._place == Place():
            return ""
        size = image.shape[:2]
        if self._size is None:
            self._size = self._motion.size if self._motion else size
        if size == self._size:
            return ""
        new, old = (
            f"{height} x {width}" for height, width in (size, self._size)
        )
        return (
            f"{where} has {new} pixels (height x width), others of the video"
            f" {old}, so that it cannot be cropped like them; cut the video"
            " there"
        )

    def box(
        self, where: str, image: np.ndarray, index: int
    ) -> boxes.Box | None:
        """The crop: all of the image, if none is asked for.

        Args:
            where: of which video or image, for messages.
            image: uint8 `[H, W, 3]`.
            index: of the frame in its video.

        Returns:
            None if the crop is nowhere in this frame.

        Raises:
            RawDataError: if the fixed crop is outside the image, or a crop is
                far larger.
        """
        height, width = image.shape[:2]
        if (box := self._place.box) is not None:
            if not boxes.overlaps(image, box):
                raise errors.RawDataError(
                    f"{where}:"
                    f" --crop={box.top},{box.left},{box.height},{box.width} is"
                    f" outside the {height} x {width} pixels (height x width);"
                    " it is top,left,height,width"
                )
            return _bounded(box, where, image)
        if self._motion:
            return self._motion.box(image)
        if self._place.track is None:
            return boxes.Box(0, 0, height, width)
        box = box_of_track(self._place.track, index)
        if box is None or not boxes.overlaps(image, box):
            return None
        return _bounded(box, where, image)


def _bounded(box: boxes.Box, where: str, image: np.ndarray) -> boxes.Box:
    """The box, unless it is too large to be meant, and to fit in memory."""
    height, width = image.shape[:2]
    if max(box.height, box.width) > _MOST_TIMES * max(height, width):
        raise errors.RawDataError(
            f"{where}: the crop has {box.height} x {box.width} pixels, far more"
            f" than the image with {height} x {width} (height x width); give"
            " pixels of this image"
        )
    return box


class Tracks:
    """Boxes of some frames of some videos; linear in between.

    Args:
        path: CSV file with the columns BOX_COLUMNS, whole pixels.

    Raises:
        RawDataError: if the file is missing or malformed.
    """

    def __init__(self, path: str):
        self._path = path
        self._boxes: dict[str, dict[int, list[float]]] = {}
        with tables.naming(path, "save it as CSV again"):
            text = tables.read_text(path, "give a CSV file", "--boxes=")
            rows = tables.read_rows(path, text)
            header = rows[0].cells if rows else []
            if [cell.lower() for cell in header] != list(BOX_COLUMNS):
                raise errors.RawDataError(
                    f"{path}, line 1: columns must be {','.join(BOX_COLUMNS)};"
                    f" got {','.join(header)[:200]!r}"
                )
            for row in rows[1:]:
                self._add(row.number, row.cells)

    def _add(self, number: int, cells: list[str]) -> None:
        try:
            video, *values = cells
            frame, top, left, height, width = map(float, values)
            if not (
                frame.is_integer()
                and frame >= 0
                and np.abs([top, left, height, width]).max() <= _MOST_PIXELS
                and min(height, width) >= 1
            ):
                raise ValueError
        except (OverflowError, ValueError):
            raise errors.RawDataError(
                f"{self._path}, line {number}: {','.join(cells)!r} must be a"
                " video, a frame from 0 on, and four numbers, the last two at"
                " least 1; correct or remove the line"
            ) from None
        video = file_names.composed(video.replace("\\", "/"))
        box = [top, left, height, width]
        if self._boxes.setdefault(video, {}).setdefault(int(frame), box) != box:
            raise errors.RawDataError(
                f"{self._path}, line {number}: frame {int(frame)} of {video}"
                " has another box in a line before; keep one"
            )

    @property
    def num_videos(self) -> int:
        """How many videos and images have boxes."""
        return len(self._boxes)

    def check(
        self, names: list[str], videos: list[str], skip_unknown: bool = False
    ) -> list[str]:
        """Checks that lines and videos fit.

        Args:
            names: what may have boxes: videos and images.
            videos: those of them that must have some.
            skip_unknown: allow boxes of something else.

        Returns:
            What has boxes, but is not there.

        Raises:
            RawDataError: if lines name something else, a video has none, or
                two names look the same.
        """
        looks = collections.defaultdict(list)
        for name in names:
            looks[file_names.composed(name)].append(name)
        for video in self._boxes:
            if len(looks[video]) > 1:
                first, second, *_ = looks[video]
                raise errors.RawDataError(
                    f"{self._path}: {video!r} may be {first!a} or {second!a},"
                    " which look the same; rename one of them"
                )
        unknown = [video for video in self._boxes if not looks[video]]
        if unknown and not skip_unknown:
            finder = file_names.Finder(names)
            described = [finder.describe(video) for video in unknown]
            raise errors.RawDataError(
                f"{self._path}: {len(unknown)} of {self.num_videos} videos with"
                f" boxes are not there ({folders.first_few(described)}); a"
                f" video must be a path below the raw folder, like {names[0]}"
            )
        without = [v for v in videos if not self.boxes(v)]
        if without:
            raise errors.RawDataError(
                f"{self._path} has no box of {len(without)} of {len(videos)}"
                f" videos ({folders.first_few(without)}); add some, or move"
                " those videos elsewhere"
            )
        return unknown

    def boxes(self, video: str) -> dict[int, list[float]]:
        """Maps frame to (top, left, height, width), in order of frames."""
        found = self._boxes.get(file_names.composed(video), {})
        return dict(sorted(found.items()))


def box_of_track(track: dict[int, list[float]], frame: int) -> boxes.Box | None:
    """The box of a frame, interpolated; None before the first, after the last.

    Args:
        track: see `Tracks.boxes`.
        frame: index in the video.
    """
    marked = list(track)
    after = bisect.bisect_left(marked, frame)
    if after == len(marked) or (after == 0 and marked[0] != frame):
        return None
    before = max(0, after - 1) if marked[after] != frame else after
    span = marked[after] - marked[before]
    share = (frame - marked[before]) / span if span else 0.0
    first, second = (np.array(track[marked[i]]) for i in (before, after))
    return boxes.Box(*np.rint(first + share * (second - first)).astype(int))


def beyond_end(track: dict[int, list[float]] | None, path: pathlib.Path) -> str:
    """Says that boxes are of frames that a video does not have; "" if not.

    They may be of another version of it, in which frames have other numbers.

    Args:
        track: see `Tracks.boxes`; None: there are no boxes.
        path: the video.

    Raises:
        RawDataError: if the file is no video.
    """
    last = max(track or [0])
    count = videos.num_frames(path) if last else 1
    if last < count:
        return ""
    return (
        f"{path} has {count} frames, from 0 on, but --boxes has a box of its"
        f" frame {last}, so that all may be of another version of the video;"
        " give the boxes of this one, or remove that line"
    )


class Motion:
    """Follows the one thing that moves before a camera that does not.

    The background is the median of sampled frames. What differs from it by more
    than noise, after a blur, is foreground; its largest connected part is the
    thing. The crop is a square around the part's centre, or inside the frame as
    near to it as can be. Its side is the same in all frames: MARGIN times the
    part's length.

    Args:
        path: the video.

    Attributes:
        size: (height, width) of its first frame; others may differ.

    Raises:
        RawDataError: if nothing moves.
    """

    def __init__(self, path: pathlib.Path):
        samples = [
            _small_grey(frame) for frame in videos.samples(path, NUM_SAMPLES)
        ]
        if not samples:
            raise errors.RawDataError(
                f"{path}: no frame is whole, so that nothing is seen to move;"
                " replace it"
            )
        self.size = samples[0][1]
        greys = np.stack([grey for grey, size in samples if size == self.size])
        self._background = np.median(greys, axis=0)
        noise = np.median(np.abs(greys - self._background))
        # Of a normal distribution, the deviation is 1.48 times the median.
        self._threshold = max(LEAST_DIFFERENCE, NUM_DEVIATIONS * 1.48 * noise)
        found = [self._part(grey) for grey in greys]
        lengths = [part[1] for part in found if part]
        if not lengths:
            raise errors.RawDataError(
                f"{path}: nothing moves before a still background; give --crop"
                " or --boxes, or leave the video out"
            )
        shrunk = max(self.size) / max(self._background.shape)
        side = MARGIN * np.percentile(lengths, LENGTH_PERCENTILE) * shrunk
        self._side = max(1, round(side))

    def box(self, image: np.ndarray) -> boxes.Box | None:
        """The crop of uint8 `[H, W, 3]`; None where nothing is found.

        Images of another size than the video's frames show nothing known.
        """
        grey, size = _small_grey(image)
        if size != self.size:
            return None
        part = self._part(grey)
        if part is None:
            return None
        centre = (part[0] + 0.5) * np.divide(size, grey.shape)
        highest = np.maximum(np.array(size) - self._side, 0)
        top, left = np.rint(centre - self._side / 2.0).clip(0, highest)
        return boxes.Box(int(top), int(left), self._side, self._side)

    def _part(self, grey: np.ndarray) -> tuple[np.ndarray, float] | None:
        """Centre (y, x) and length of what moves, pixels of `grey`, if any."""
        difference = scipy.ndimage.uniform_filter(
            np.abs(grey - self._background), BLUR
        )
        labels, count = scipy.ndimage.label(difference > self._threshold)
        if not count:
            return None
        largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
        points = np.argwhere(labels == largest)
        if len(points) < 2:
            return None
        deviation = np.sqrt(np.linalg.eigvalsh(np.cov(points.T))[-1])
        # A bar of length 1 has a deviation of 0.29. Of a thin tail this counts
        # less than its extent would.
        return points.mean(axis=0), float(deviation * np.sqrt(12.0))


def _parsed(crop: str) -> boxes.Box:
    try:
        top, left, height, width = (int(part) for part in crop.split(","))
        if min(height, width) < 1:
            raise ValueError
    except ValueError:
        raise errors.RawDataError(
            f"--crop={crop} must be top,left,height,width in whole pixels, the"
            " last two at least 1"
        ) from None
    return boxes.Box(top, left, height, width)


def _small_grey(image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """float32 grey image of at most MOTION_SIDE; the old (height, width)."""
    grey = Image.fromarray(image).convert("L")
    grey.thumbnail((MOTION_SIDE, MOTION_SIDE), Image.Resampling.BOX)
    return np.asarray(grey, np.float32), image.shape[:2]
