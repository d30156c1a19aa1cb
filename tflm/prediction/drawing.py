"""Copies of images and videos with the points drawn over them."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import pathlib

import numpy as np

from tflm import errors
from tflm import files
from tflm.drawing import movies
from tflm.drawing import overlays
from tflm.drawing import palette
from tflm.media import images
from tflm.media import videos
from tflm.prediction import inputs

# Takes a frame, points float [P, 2], (y, x), pixels, and scores float [P].
Draw = Callable[[inputs.Frame, np.ndarray, np.ndarray], None]


def path(folder: pathlib.Path, source: inputs.Source) -> pathlib.Path:
    """Where the drawings of a source go: a folder, or a video's MP4 file."""
    suffix = ".mp4" if isinstance(source, inputs.Video) else ""
    return folder / f"{source.name}{inputs.OVERLAY}{suffix}"


@contextlib.contextmanager
def drawing(
    folder: pathlib.Path,
    source: inputs.Source,
    num_points: int,
    selection: inputs.Selection,
) -> Iterator[Draw]:
    """Gives a function that draws the next frame of a source.

    A video's MP4 plays as fast as the video, also if only every n-th frame was
    taken, and gets its name when the block succeeds. An image is written as
    JPEG as soon as it is drawn, under its path below `path(...)`.

    Raises:
        errors.RawDataError: if the source is no video.
    """
    colours = palette.palette(num_points)

    def drawn(frame, points_px, scores):
        if np.isnan(scores).all():
            return frame.image
        return overlays.draw(frame.image, points_px, colours, scores)

    target = path(folder, source)
    if isinstance(source, inputs.Video):
        rate = videos.frame_rate(pathlib.Path(source.root, source.path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with movies.Movie(target, rate / selection.stride) as movie:
            first_size = None

            def write_frame(frame, points_px, scores):
                nonlocal first_size
                first_size = first_size or frame.image_size
                if frame.image_size != first_size:
                    raise errors.RawDataError(
                        f"{frame.file_name} has another size than the frames"
                        " before it, so that no video can be drawn; leave"
                        " --overlay out"
                    )
                movie.write(drawn(frame, points_px, scores))

            yield write_frame
        return

    def write_image(frame, points_px, scores):
        image_path = target / _below(frame.file_name)
        image_path.parent.mkdir(parents=True, exist_ok=True)
        encoded = images.encode_jpeg(drawn(frame, points_px, scores))
        with files.replacing(image_path) as partial:
            partial.write_bytes(encoded)

    yield write_image


def _below(name: str) -> pathlib.PurePath:
    """A JPEG's path below a folder, from a path that may lead out of it.

    Different paths stay different: what leads out goes through folders `up` and
    `root`.
    """
    whole = pathlib.PurePosixPath(name)
    renamed = {"..": "up", whole.anchor: "root"}
    below = pathlib.PurePath(*(renamed.get(p, p) for p in whole.parts))
    is_jpeg = below.suffix.lower() in (".jpg", ".jpeg")
    return below if is_jpeg else below.with_name(f"{below.name}.jpg")
