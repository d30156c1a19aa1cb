"""Copies of images and videos with the points drawn over them."""

from collections.abc import Iterator
import contextlib
import pathlib

import numpy as np

from tflm import files
from tflm.drawing import movies
from tflm.drawing import overlays
from tflm.drawing import palette
from tflm.media import images
from tflm.media import videos
from tflm.prediction import inputs


def path(folder: pathlib.Path, source: inputs.Source) -> pathlib.Path:
    """Where the drawings of a source go: a folder, or a video's MP4 file."""
    suffix = ".mp4" if isinstance(source, inputs.Video) else ""
    return folder / f"{source.name}{inputs.OVERLAY}{suffix}"


class Drawing:
    """Draws the frames of a source, one after the other.

    What cannot be drawn is left out, and costs nothing else.

    Args:
        target: see `path`.
        num_points: how many points there are.

    Attributes:
        problems: a line of each drawing that could not be made.
    """

    def __init__(self, target: pathlib.Path, num_points: int):
        self._target = target
        self._colours = palette.palette(num_points)
        self.problems: list[str] = []

    def draw(
        self, frame: inputs.Frame, points_px: np.ndarray, scores: np.ndarray
    ) -> None:
        """Draws a frame, unless it is damaged.

        Args:
            frame: with its image.
            points_px: float `[P, 2]`, (y, x), pixels.
            scores: float `[P]`.
        """
        image = frame.image
        if image is not None and not np.isnan(scores).all():
            image = overlays.draw(image, points_px, self._colours, scores)
        with self._named(frame):
            self._write(frame, image)

    @contextlib.contextmanager
    def _named(self, frame: inputs.Frame | None) -> Iterator[None]:
        """Whatever a library raises is told, and ends one drawing."""
        try:
            yield
        except Exception as error:
            where = frame.file_name if frame else self._target.name
            why = " ".join(f"{getattr(error, 'strerror', '') or error}".split())
            self.problems.append(f"{where}: no drawing can be made ({why})")

    def _write(self, frame: inputs.Frame, image: np.ndarray | None) -> None:
        if image is None:
            return
        image_path = self._target / _below(frame.file_name)
        image_path.parent.mkdir(parents=True, exist_ok=True)
        encoded = images.encode_jpeg(image)
        with files.replacing(image_path) as partial:
            partial.write_bytes(encoded)


class _VideoDrawing(Drawing):
    """Draws one video; it has none if one of its frames cannot be drawn."""

    def __init__(
        self, target: pathlib.Path, num_points: int, frames_per_second: float
    ):
        super().__init__(target, num_points)
        self._rate = frames_per_second
        self._opened = contextlib.ExitStack()
        self._movie: movies.Movie | None = None
        self._start: float | None = None  # Seconds, of the first frame.
        self._size: tuple[int, ...] = ()

    def _write(self, frame: inputs.Frame, image: np.ndarray | None) -> None:
        if self._start is None:
            self._start = frame.seconds
        if image is None or self.problems:
            return
        try:
            if self._movie is None:
                self._target.parent.mkdir(parents=True, exist_ok=True)
                movie = movies.Movie(self._target, self._rate)
                self._movie = self._opened.enter_context(movie)
                self._size = image.shape[:2]
            if image.shape[:2] != self._size:
                old, new = (
                    f"{h} x {w}" for h, w in (self._size, image.shape[:2])
                )
                raise ValueError(
                    f"its size is {new} pixels, of the frames before it {old}"
                )
            self._movie.write(image, frame.seconds - self._start)
        except Exception as error:
            self._opened.__exit__(type(error), error, error.__traceback__)
            raise

    def __enter__(self) -> "_VideoDrawing":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            self._opened.__exit__(kind, error, trace)
            return
        with self._named(None):
            self._opened.close()


@contextlib.contextmanager
def drawing(
    folder: pathlib.Path,
    source: inputs.Source,
    num_points: int,
    selection: inputs.Selection,
) -> Iterator[Drawing]:
    """Gives what draws the frames of a source.

    A video's MP4 shows each frame when the video does, from the first that is
    taken on, and gets its name when the block succeeds. An image is written as
    JPEG as soon as it is drawn, under its path below `path(...)`.

    Raises:
        errors.RawDataError: if the source is no video.
    """
    target = path(folder, source)
    if isinstance(source, inputs.Images):
        yield Drawing(target, num_points)
        return
    rate = videos.frame_rate(pathlib.Path(source.root, source.path))
    with _VideoDrawing(target, num_points, rate / selection.stride) as drawn:
        yield drawn


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
