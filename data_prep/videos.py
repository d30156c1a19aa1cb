"""Frames of video files, decoded one at a time."""

from collections.abc import Iterator
import pathlib

import av
import numpy as np

from data_prep import clips

# Containers often promise a frame or two more than they hold.
_FRAMES_LESS = 2
_SHARE_LESS = 0.01


def num_frames(path: pathlib.Path) -> int:
    """Frames of a video, as its container says, or counted if it does not.

    Raises:
        RawDataError: if the file is no video.
    """
    try:
        with av.open(str(path)) as container:
            stream = _stream(path, container)
            if stream.frames:
                return stream.frames
            return sum(packet.size > 0 for packet in container.demux(stream))
    except (av.FFmpegError, OSError) as error:
        raise _broken(path, error) from None


def frames(
    path: pathlib.Path, start: int = 0, end: int | None = None, stride: int = 1
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields every `stride`-th frame from `start` on, below `end`.

    The file is decoded from its first frame on, in bounded memory: seeking is
    not exact in every container.

    Args:
        path: anything that FFmpeg reads; its first video stream is taken.
        start: counted in frames from 0.
        end: None: the end of the video.
        stride: in frames.

    Yields:
        The frame's index in the video, and uint8 `[H, W, 3]`, RGB, upright as
        the file's rotation says.

    Raises:
        RawDataError: if the file is no video, or breaks off.
    """
    index = -1
    try:
        with av.open(str(path)) as container:
            stream = _stream(path, container)
            stream.thread_type = "AUTO"
            promised = stream.frames
            for index, frame in enumerate(container.decode(stream)):
                if end is not None and index >= end:
                    return
                if index >= start and (index - start) % stride == 0:
                    yield index, _upright(frame)
    except (av.FFmpegError, OSError) as error:
        raise _broken(path, error) from None
    decoded = index + 1
    wanted = promised if end is None else min(promised, end)
    if decoded < wanted * (1.0 - _SHARE_LESS) - _FRAMES_LESS:
        raise _broken(path, f"it ends after {decoded} of {promised} frames")


def samples(path: pathlib.Path, count: int) -> list[np.ndarray]:
    """At most `count` frames, evenly spread over a video.

    Raises:
        RawDataError: if the file is no video.
    """
    found = []
    try:
        with av.open(str(path)) as container:
            stream = _stream(path, container)
            duration = (container.duration or 0) / 1e6  # Seconds.
            for number in range(count):
                wanted = duration * (number + 0.5) / count
                container.seek(round(wanted * 1e6))  # The key frame before it.
                for frame in container.decode(stream):
                    if (frame.time or 0.0) >= wanted:
                        found.append(_upright(frame))
                        break
    except (av.FFmpegError, OSError) as error:
        raise _broken(path, error) from None
    if not found:
        raise _broken(path, "it has no frame")
    return found


def _stream(path: pathlib.Path, container) -> av.video.stream.VideoStream:
    if not container.streams.video:
        raise _broken(path, "it has no pictures")
    return container.streams.video[0]


def _upright(frame: av.VideoFrame) -> np.ndarray:
    turns = round(frame.rotation / 90)  # Counter-clockwise.
    return np.ascontiguousarray(
        np.rot90(frame.to_ndarray(format="rgb24"), turns)
    )


def _broken(path: pathlib.Path, why: object) -> clips.RawDataError:
    return clips.RawDataError(
        f"{path} does not decode as a video ({why}); replace it, or pass"
        " --skip_broken to leave such files out"
    )
