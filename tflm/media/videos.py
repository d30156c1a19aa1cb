"""Frames of video files, decoded one at a time."""

from collections.abc import Iterator
import pathlib

import av
import numpy as np

from tflm import errors

SUFFIXES = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv",
    ".mts", ".m2ts", ".3gp",
)  # fmt: skip
# Containers often promise a frame or two more than they hold.
_FRAMES_LESS = 2
_SHARE_LESS = 0.01
_FIRST_MP4_BOXES = (
    b"ftyp",
    b"styp",
    b"moov",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
)


def num_frames(path: pathlib.Path) -> int:
    """Frames of a video, as its container says, or counted if it does not.

    Raises:
        RawDataError: if the file is no video.
    """
    try:
        with _opened(path) as container:
            stream = _stream(path, container)
            return _promised(container, stream) or sum(
                packet.size > 0 for packet in container.demux(stream)
            )
    except (av.FFmpegError, OSError) as error:
        raise _broken(path, error) from None


def frame_rate(path: pathlib.Path) -> float:
    """Frames a second, on average; 25 if the file does not say.

    Raises:
        RawDataError: if the file is no video.
    """
    try:
        with _opened(path) as container:
            return float(_stream(path, container).average_rate or 25)
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
    if end is not None and end <= start:
        return
    index = -1
    try:
        with _opened(path) as container:
            stream = _stream(path, container)
            stream.thread_type = "AUTO"
            promised = _promised(container, stream)
            for index, frame in enumerate(container.decode(stream)):
                if index == 0:
                    matrix = _display_matrix(frame)
                if index >= start and (index - start) % stride == 0:
                    yield index, _upright(frame, matrix)
                if end is not None and index + 1 >= end:
                    return
    except (av.FFmpegError, OSError) as error:
        raise _broken(path, error) from None
    decoded = index + 1
    wanted = promised if end is None else min(promised, end)
    if decoded < wanted * (1.0 - _SHARE_LESS) - _FRAMES_LESS:
        raise _broken(path, f"it ends after {decoded} of {promised} frames")


def samples(path: pathlib.Path, count: int) -> Iterator[np.ndarray]:
    """Yields at most `count` frames, evenly spread over a video.

    Raises:
        RawDataError: if the file is no video.
    """
    found = 0
    try:
        with _opened(path) as container:
            stream = _stream(path, container)
            first = (container.start_time or 0) / 1e6  # Seconds.
            duration = (container.duration or 0) / 1e6
            for number in range(count):
                wanted = first + duration * (number + 0.5) / count
                container.seek(round(wanted * 1e6))  # The key frame before it.
                for frame in container.decode(stream):
                    if (frame.time or 0.0) >= wanted:
                        matrix = _display_matrix(frame)
                        yield _upright(frame, matrix)
                        found += 1
                        break
    except (av.FFmpegError, OSError) as error:
        raise _broken(path, error) from None
    if not found:
        raise _broken(path, "it has no frame, or but one")


def _opened(path: pathlib.Path) -> av.container.InputContainer:
    # Of titles and comments that are no UTF-8 nothing is read.
    return av.open(str(path), metadata_errors="replace")


def _stream(path: pathlib.Path, container) -> av.video.stream.VideoStream:
    if not container.streams.video:
        raise _broken(path, "it has no pictures")
    if _is_cut_matroska(path) or _is_cut_mp4(path):
        raise _broken(path, "it is shorter than its header says")
    return container.streams.video[0]


def _promised(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> int:
    """Frames that the container says it shows; 0 if it does not say.

    An MP4 or MOV that was trimmed without being encoded again holds frames
    that it tells players to leave out, and so does the decoder.
    """
    if stream.frames and "mov" in container.format.name:
        shown = sum(not entry.is_discard for entry in stream.index_entries)
        return shown or stream.frames
    if stream.frames and container.format.name == "avi":
        # Empty chunks stand for frames that were dropped. The index is at the
        # end: a file without one is cut, and the header's count holds.
        shown = sum(entry.size > 0 for entry in stream.index_entries)
        return shown if shown > 1 else stream.frames
    return stream.frames


def _is_cut_matroska(path: pathlib.Path) -> bool:
    """Whether an MKV or WebM is shorter than its header says.

    FFmpeg reads such a file to where it ends, without an error.
    """
    with open(path, "rb") as file:
        for wanted in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
            if file.read(4) != wanted:
                return False
            head = file.read(1) or b"\xff"
            num_more = 8 - head[0].bit_length()  # Bytes of the size.
            bits = 7 * (num_more + 1)
            size = int.from_bytes(head + file.read(num_more), "big")
            size &= (1 << bits) - 1
            if size == (1 << bits) - 1:  # Not known, as of a live recording.
                return False
            end = file.tell() + size
            if wanted == b"\x1a\x45\xdf\xa3":  # The header before it all.
                file.seek(end)
    return path.stat().st_size < end


def _is_cut_mp4(path: pathlib.Path) -> bool:
    """Whether the last box of an MP4 or MOV reaches beyond the file.

    If it is in fragments FFmpeg reads it to where it ends, without an error.
    """
    length = path.stat().st_size
    with open(path, "rb") as file:
        place = 0
        while place + 8 <= length:
            file.seek(place)
            head = file.read(16)
            if place == 0 and head[4:8] not in _FIRST_MP4_BOXES:
                return False
            size = int.from_bytes(head[:4], "big")
            if size == 0:  # To the end of the file.
                return False
            if size == 1:
                size = int.from_bytes(head[8:], "big")
            if size < 8:  # No box: something was written behind the last.
                return False
            place += size
    return place > length


def _display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """How the file says that its frames are shown: int32 `[3, 3]`.

    To be asked of one frame of a file: a frame and its side data refer to each
    other, so one that was asked is in memory until Python looks for cycles.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return None
    return np.frombuffer(matrix, np.int32).reshape(3, 3).copy()


def _upright(frame: av.VideoFrame, matrix: np.ndarray | None) -> np.ndarray:
    """RGB, turned and mirrored to the nearest quarter as the file says."""
    image = frame.to_ndarray(format="rgb24")
    if matrix is not None:
        # A stored (x, y) is shown at (a x + c y, b x + d y), but for a shift.
        (a, b, _), (c, d, _), _ = matrix
        if abs(b) + abs(c) > abs(a) + abs(d):
            image, a, d = image.swapaxes(0, 1), c, b
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)


def _broken(path: pathlib.Path, why: object) -> errors.RawDataError:
    why = getattr(why, "strerror", why)  # Without number and path.
    return errors.RawDataError(
        f"{path} does not decode as a video ({why}); replace it, or pass"
        " --skip_broken to leave such files out"
    )
