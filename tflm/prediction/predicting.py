"""From images and videos to tables of points, in bounded memory."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import errno
import logging
import pathlib
import sys

import numpy as np
import tqdm
from tqdm.contrib import logging as tqdm_logging

from tflm import coords
from tflm import errors
from tflm.media import boxes
from tflm.media import folders
from tflm.media import videos
from tflm.prediction import drawing
from tflm.prediction import inputs
from tflm.prediction import outputs
from tflm.serving import loading

_log = logging.getLogger(__name__)
# The next source may have a name that can be written.
_OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.EEXIST, errno.ENOTDIR)
_MOST_NAMED = 5  # Frames of a video; of the others there is a count.
_NO_IMAGE = np.zeros([2, 2, 3], np.uint8)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the files.

    Attributes:
        written: the files with the points, and the drawings.
        num_files: images and videos that were asked for.
        num_skipped: those of them of which nothing is written; each was named
            in the log.
        num_partial: those of which something is missing, a frame or the
            drawing; likewise.
        left_out: see `inputs.Inputs`.
    """

    written: list[pathlib.Path]
    num_files: int
    num_skipped: int = 0
    num_partial: int = 0
    left_out: Mapping[str, Sequence[str]] = dataclasses.field(
        default_factory=dict
    )

    @property
    def is_whole(self) -> bool:
        """Whether all is there that one would expect."""
        is_missing = any(self.left_out.get(why) for why in folders.MISSING)
        return not (self.num_skipped or self.num_partial or is_missing)

    def line(self) -> str:
        """How many files were read, and what of them is missing."""
        num_read = self.num_files - self.num_skipped
        line = f"{num_read} of {self.num_files} files read"
        if self.num_skipped:
            line += f", {self.num_skipped} skipped"
        if self.num_partial:
            line += f", {self.num_partial} not whole"
        if words := folders.in_words(self.left_out):
            line += f"; {words}"
        return line


class _NothingRead(Exception):
    """Not one frame of a source could be read."""


def point_names(detector: loading.Detector) -> list[str]:
    """The names of all points in their order: landmarks, then keypoints."""
    names = [f"landmark_{k:02d}" for k in range(detector.num_landmarks)]
    if detector.keypoint_map is not None:
        names += detector.keypoint_map.names
    return names


def predict(
    detector: loading.Detector,
    wanted: inputs.Inputs,
    output_dir: pathlib.Path,
    *,
    model: str,
    overlay: bool = False,
    selection: inputs.Selection = inputs.ALL_FRAMES,
) -> Outcome:
    """Writes the points in all sources.

    At most a batch of images is held at a time: their views, with `overlay`
    also the images themselves.

    Args:
        detector: what finds the points.
        wanted: see `inputs.find`.
        output_dir: where NAME.csv and NAME.json of each source go, and with
            `overlay` what `drawing.path` says.
        model: the detector's name in the tables.
        overlay: whether the points are drawn, too.
        selection: of the frames of videos.

    Returns:
        What was written. A source of which nothing could be read leaves
        nothing. A damaged frame of a video has an empty row.
    """
    written, num_partial = [], 0
    num_files = num_skipped = len(wanted.broken)
    for broken in wanted.broken:
        _log.warning("%s", _skipped(broken.message))
    for source in wanted.sources:
        is_video = isinstance(source, inputs.Video)
        num_files += 1 if is_video else len(source.paths)
        try:
            num_broken, num_undrawn = _predict_source(
                detector, source, output_dir, model, overlay, selection
            )
        except errors.RawDataError as error:
            _log.warning("%s", _skipped(str(error)))
            num_skipped += 1
        except OSError as error:
            if error.errno not in _OF_ONE_NAME:
                raise
            _log.warning("skipped: %s cannot be written", error)
            num_skipped += 1 if is_video else len(source.paths)
        except _NothingRead:
            if is_video:
                _log.warning("%s", _skipped(_no_such_frames(source, selection)))
            num_skipped += 1 if is_video else len(source.paths)
        else:
            if is_video:
                num_partial += bool(num_broken or num_undrawn)
            else:
                num_skipped += num_broken
                num_partial += num_undrawn
            written += outputs.table_paths(output_dir, source.name)
            drawn = drawing.path(output_dir, source)
            if overlay and not (is_video and num_undrawn):
                written.append(drawn)
    return Outcome(
        written, num_files, num_skipped, num_partial, wanted.left_out
    )


def _predict_source(
    detector: loading.Detector,
    source: inputs.Source,
    output_dir: pathlib.Path,
    model: str,
    overlay: bool,
    selection: inputs.Selection,
) -> tuple[int, int]:
    """Writes the points of one source.

    Returns:
        How many images or frames are broken, and how many were not drawn.
    """
    names = point_names(detector)
    num_broken = num_written = 0
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(
            tqdm.tqdm(
                desc=source.name,
                total=inputs.count(source, selection),
                unit=" images",
                mininterval=0.1 if sys.stderr.isatty() else 10.0,
            )
        )
        stack.enter_context(
            tqdm_logging.logging_redirect_tqdm([logging.getLogger("tflm")])
        )
        tables = stack.enter_context(
            outputs.tables(output_dir, source.name, names, model)
        )
        drawn = None
        if overlay:
            drawn = stack.enter_context(
                drawing.drawing(output_dir, source, len(names), selection)
            )
        frames = inputs.read(source, selection)
        for batch in _batches(detector, frames, keeps_images=overlay):
            for message in batch.messages():
                num_broken += 1
                if isinstance(source, inputs.Images) or (
                    num_broken <= _MOST_NAMED
                ):
                    _log.warning("%s", _skipped(message))
            for found in _points(detector, batch):
                tables.add(*found)
                if drawn:
                    drawn.draw(*found)
                num_written += 1
            progress.update(len(batch.frames) + len(batch.broken))
        if not num_written:
            raise _NothingRead
    if isinstance(source, inputs.Video) and num_broken > _MOST_NAMED:
        _log.warning(
            "skipped: %d more frames of %s",
            num_broken - _MOST_NAMED,
            source.path,
        )
    problems = drawn.problems if drawn else []
    for problem in problems:
        _log.warning("%s", problem)
    return num_broken, len(problems)


@dataclasses.dataclass
class _Batch:
    """Frames that go through the model together, and files that did not."""

    frames: list[inputs.Frame]
    views: list[np.ndarray]
    broken: list[errors.Broken]

    def messages(self) -> list[str]:
        """A line of each file or frame in which nothing can be found."""
        of_frames = [frame.problem for frame in self.frames if frame.problem]
        return of_frames + [broken.message for broken in self.broken]


def _batches(
    detector: loading.Detector,
    frames: Iterator[inputs.Frame | errors.Broken],
    keeps_images: bool,
) -> Iterator[_Batch]:
    """Batches of frames, read no further than the batch that is asked for."""
    batch = _Batch([], [], [])
    for frame in frames:
        if isinstance(frame, errors.Broken):
            batch.broken.append(frame)
        else:
            image = _NO_IMAGE if frame.image is None else frame.image
            if frame.box is not None:
                image = boxes.crop(image, frame.box)
            batch.views.append(detector.view(image))
            batch.frames.append(
                frame if keeps_images else frame.without_image()
            )
        if len(batch.frames) + len(batch.broken) == detector.batch_size:
            yield batch
            batch = _Batch([], [], [])
    if batch.frames or batch.broken:
        yield batch


def _points(
    detector: loading.Detector, batch: _Batch
) -> Iterator[tuple[inputs.Frame, np.ndarray, np.ndarray]]:
    """Frames, their points `[P, 2]`, (y, x), pixels, and scores `[P]`.

    Both are NaN where there is nothing to look at.
    """
    if not batch.frames:
        return
    boxes = [frame.box for frame in batch.frames]
    sizes = np.array(
        [
            (box.height, box.width) if box else frame.image_size
            for frame, box in zip(batch.frames, boxes)
        ]
    )
    corners = np.array(
        [(box.top, box.left) if box else (np.nan, np.nan) for box in boxes]
    )
    found = detector.in_views(np.stack(batch.views), sizes)
    points, scores = found["landmarks"], found["confidence"]
    if (keypoint_map := detector.keypoint_map) is not None:
        named = detector.keypoints(points, sizes)
        points = np.concatenate([points, named], axis=1)
        scores = np.concatenate(
            [scores, keypoint_map.confidence(scores)], axis=1
        )
    points_px = corners[:, None] + coords.to_pixels(
        coords.from_xy_fractions(points), sizes[:, None]
    )
    scores = np.where(np.isnan(corners[:, :1]), np.nan, scores)
    yield from zip(batch.frames, points_px, scores)


def _no_such_frames(video: inputs.Video, selection: inputs.Selection) -> str:
    path = pathlib.Path(video.root, video.path)
    return (
        f"{path} has {videos.num_frames(path)} frames, none from"
        f" --start={selection.start} on; give a lower one"
    )


def _skipped(message: str) -> str:
    return errors.in_one_line(f"skipped: {message}")
