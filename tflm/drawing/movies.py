"""Videos written frame by frame, in memory that does not grow with them."""

import contextlib
import fractions
import os
import pathlib

import av
from av import filter as filters
import numpy as np

from tflm import errors
from tflm import files

_FINEST_RATE = 10_000  # Denominator of frames a second: 30000/1001 is exact.
_MP4_TICKS = 90_000  # A second; those of most rates are whole.
_GIF_TICKS = 100
_QUALITY = "18"  # H.264's constant rate factor: no loss that one sees.


class Movie:
    """Writes frames to an MP4 (H.264) or GIF file, as its name ends.

    Use it in a `with` block. The file gets its name when the block ends without
    an error, and is not there otherwise. MP4 has even sides only: the last row
    or column of an odd frame is repeated. A GIF has 256 colours, chosen for
    each frame.

    Args:
        path: ends with .mp4 or .gif.
        frames_per_second: positive; on average, if frames come with times.

    Raises:
        errors.UserError: if the path ends otherwise.
        ValueError: if `frames_per_second` is not positive.
    """

    def __init__(self, path: str | os.PathLike, frames_per_second: float):
        self._path = pathlib.Path(path)
        if self._path.suffix.lower() not in (".mp4", ".gif"):
            raise errors.UserError(
                f"cannot write a video to {path}; name a file that ends with"
                " .mp4 or .gif"
            )
        if not frames_per_second > 0:
            raise ValueError(
                f"frames_per_second must be positive, got {frames_per_second}"
            )
        self._rate = fractions.Fraction(frames_per_second).limit_denominator(
            _FINEST_RATE
        )
        self._is_gif = self._path.suffix.lower() == ".gif"
        self._shape: tuple[int, ...] | None = None  # Of the frames.
        self._graph: filters.Graph | None = None  # To 256 colours.

    def __enter__(self) -> "Movie":
        with contextlib.ExitStack() as opened:
            partial = opened.enter_context(files.replacing(self._path))
            self._container = opened.enter_context(
                av.open(
                    str(partial),
                    "w",
                    format="gif" if self._is_gif else "mp4",
                    # A browser can start before it has all of it.
                    container_options={}
                    if self._is_gif
                    else {"movflags": "+faststart"},
                )
            )
            opened.push(self._finish)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error) -> None:
        self._opened.__exit__(*error)

    def write(self, image: np.ndarray, seconds: float | None = None) -> None:
        """Appends a frame.

        Args:
            image: uint8 `[H, W, 3]`, RGB; the same size in every call.
            seconds: when it is shown, more than the last; None: as
                `frames_per_second` says.

        Raises:
            ValueError: if it has another shape, type or size.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"a frame must be uint8 [H, W, 3], got {image.dtype}"
                f" {list(image.shape)}"
            )
        if self._shape is None:
            self._shape = image.shape
            self._start()
        if image.shape != self._shape:
            raise ValueError(
                f"a frame of {list(image.shape)} among those of"
                f" {list(self._shape)}"
            )
        if not self._is_gif:
            odd = [(0, side % 2) for side in image.shape[:2]]
            image = np.pad(image, [*odd, (0, 0)], mode="edge")
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image), format="rgb24"
        )
        if self._graph is not None:
            self._graph.push(frame)
            frame = self._graph.pull()
        if seconds is None:
            seconds = self._num_frames / self._rate
        ticks = round(seconds / self._tick)
        self._last_ticks = max(ticks, self._last_ticks + 1)
        frame.pts, frame.time_base = self._last_ticks, self._tick
        self._num_frames += 1
        self._container.mux(self._stream.encode(frame))

    def _start(self) -> None:
        """Once the size of the frames is known."""
        height, width = self._shape[:2]
        self._num_frames, self._last_ticks = 0, -1
        self._tick = fractions.Fraction(
            1, _GIF_TICKS if self._is_gif else _MP4_TICKS
        )
        self._stream = self._container.add_stream(
            "gif" if self._is_gif else "libx264", rate=self._rate
        )
        if self._is_gif:
            self._stream.height, self._stream.width = height, width
            self._stream.pix_fmt = "pal8"
            self._graph = _palette_graph(height, width, self._tick)
        else:
            self._stream.height = height + height % 2
            self._stream.width = width + width % 2
            self._stream.pix_fmt = "yuv420p"
            # With B frames, the file's duration would be wrong if the times of
            # frames are not evenly spaced.
            self._stream.options = {"crf": _QUALITY, "bf": "0"}
        self._stream.codec_context.time_base = self._tick

    def _finish(self, kind, error, trace) -> None:
        """Writes what the encoder holds back; not after an error."""
        if error is not None:
            return
        if self._shape is None:
            raise ValueError(f"no frame was written to {self._path}")
        self._container.mux(self._stream.encode())


def _palette_graph(
    height: int, width: int, time_base: fractions.Fraction
) -> filters.Graph:
    """Turns an RGB frame into one of the 256 colours that suit it best."""
    graph = filters.Graph()
    source = graph.add_buffer(
        width=width, height=height, format="rgb24", time_base=time_base
    )
    split = graph.add("split")
    choose = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(choose, 1, 0)
    choose.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph
