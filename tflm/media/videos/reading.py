"""Frames of a video file, one after the other."""

from collections.abc import Iterator
import dataclasses
import math
import pathlib

import av
import numpy as np

from tflm import errors
from tflm.media.videos import containers
from tflm.media.videos import decoding
from tflm.media.videos import ledger
from tflm.media.videos import packets


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video, or what is known of one that is damaged."""

    index: int  # As a player shows them, from 0.
    seconds: float  # Since frame 0.
    image: np.ndarray | None  # uint8 [H, W, 3], RGB, upright; None: damaged.
    problem: str = ""  # If damaged: one line that names file and frame.


def num_frames(path: pathlib.Path) -> int:
    """Frames of a video that are in the file, whatever its container says.

    Raises:
        RawDataError: if the file is no video.
    """
    return len(packets.read(path).seconds)


def frame_rate(path: pathlib.Path) -> float:
    """Frames a second, on average.

    Raises:
        RawDataError: if the file is no video.
    """
    seconds = packets.read(path).seconds
    return (
        (len(seconds) - 1) / seconds[-1]
        if seconds[-1]
        else packets.DEFAULT_RATE
    )


def frames(
    path: pathlib.Path, start: int = 0, end: int | None = None, stride: int = 1
) -> Iterator[Frame | errors.Broken]:
    """Yields every `stride`-th frame from `start` on, below `end`.

    The file is decoded from its first frame on, in bounded memory: seeking is
    not exact in every container.

    Args:
        path: anything that FFmpeg reads; its first video stream is taken.
        start: counted in frames from 0.
        end: None: the end of the video.
        stride: in frames.

    Yields:
        The frames in order. A frame is damaged if the decoder says so or gives
        no picture of it, or if it may be built on one that is damaged. Last,
        if the file is cut off and its end is wanted, a line that says so.

    Raises:
        RawDataError: if the file is no video, or no frame of it decodes.
    """
    listed = packets.read(path)
    count = len(listed.seconds)
    stop = count if end is None else min(count, end)
    if start < stop:
        with containers.one_line(path):
            for picture in _wanted(path, listed, start, stop, stride):
                seconds = float(listed.seconds[picture.index])
                why = picture.why
                image = None
                if not why:
                    try:
                        image = picture.image()
                    except Exception as error:
                        why = containers.words(error)
                problem = _damaged(path, picture.index, why) if why else ""
                yield Frame(picture.index, seconds, image, problem)
    if listed.cut and (end is None or end >= count):
        yield errors.Broken(
            str(path),
            f"{path} {listed.cut}; replace it",
        )


def _wanted(
    path: pathlib.Path,
    listed: packets.Packets,
    start: int,
    stop: int,
    stride: int,
) -> Iterator[ledger.Picture]:
    """The same without the images.

    Damaged ones wait for the first that is whole, as there may be none.
    """
    waiting, is_video = [], False
    for picture in _pictures(path, listed):
        is_video = is_video or not picture.why
        wanted = range(start, stop, stride)
        if picture.index in wanted:
            waiting.append(picture)
        if is_video:
            yield from waiting
            waiting.clear()
            if picture.index + 1 >= stop:
                return
    if not is_video:
        why = waiting[0].why if waiting else "it has no frame"
        raise containers.broken(path, f"no frame of it decodes: {why}")


def samples(path: pathlib.Path, count: int) -> Iterator[np.ndarray]:
    """Yields at most `count` frames, evenly spread over a video.

    Damaged ones are left out.

    Raises:
        RawDataError: if the file is no video.
    """
    listed = packets.read(path)
    last = len(listed.seconds) - 1
    wanted = sorted(
        {
            min(math.ceil((last + 1) * (number + 0.5) / count), last)
            for number in range(count)
        }
    )
    done = 0
    with containers.one_line(path):
        if listed.stamps is not None:
            with containers.opened(path) as (container, stream):
                for index in wanted:
                    picture = _sought(container, stream, listed, index)
                    if picture is None:
                        break
                    yield picture.image()
                    done += 1
    # Where seeking does not lead to the frame, or it may be damaged.
    rest = wanted[done:]
    if rest:
        for frame in frames(path, rest[0], rest[-1] + 1):
            is_frame = isinstance(frame, Frame) and frame.image is not None
            if is_frame and frame.index in rest:
                yield frame.image


def _pictures(
    path: pathlib.Path, listed: packets.Packets
) -> Iterator[ledger.Picture]:
    """All frames in order.

    Threads that each decode a frame lose more than the one that is damaged, so
    from the first damage on the file is decoded again without them.
    """
    done = 0
    for picture in _settled(path, ledger.Ledger(listed), "FRAME", {}):
        if picture.why:
            break
        yield picture
        done += 1
    else:
        return
    # What no other is built on is not shown to the decoder, if damaged: what
    # it says of itself may confuse the decoder about the others.
    book = ledger.Ledger(listed)
    for _ in _settled(path, book, "NONE", {}):
        pass
    if not book.is_in_order:
        listed = dataclasses.replace(listed, frames=None)
    unused = {
        number: why
        for number, why in book.whys.items()
        if not listed.is_used[number]
    }
    for picture in _settled(path, ledger.Ledger(listed), "NONE", unused):
        if picture.index >= done:
            yield picture


def _settled(
    path: pathlib.Path,
    book: ledger.Ledger,
    thread_type: str,
    passed_over: dict[int, str],
) -> Iterator[ledger.Picture]:
    """Decodes all that is not to be passed over."""
    with containers.opened(path) as (container, stream):
        stream.thread_type = thread_type
        for packet, pictures, why in decoding.decoded(
            container, stream, passed_over
        ):
            if why:
                book.lose(packet.opaque[0], why)
            for picture in pictures:
                book.add(*picture)
            yield from book.ready()
    book.end()
    yield from book.ready()


def _sought(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    listed: packets.Packets,
    index: int,
) -> ledger.Picture | None:
    """A frame by its time stamp; None if seeking does not lead to it."""
    wanted = int(listed.stamps[index])
    try:
        container.seek(wanted, stream=stream)  # The key before it.
    except Exception:  # Decoding from the first frame on does without.
        return None
    is_first = True
    for packet, pictures, why in decoding.decoded(container, stream):
        for frame, _, turn in pictures:
            if frame.pts is None or frame.pts > wanted or frame.is_corrupt:
                return None
            if frame.pts == wanted:
                return ledger.Picture(index, "", frame, turn)
        if why or (is_first and not packet.is_keyframe):
            return None
        is_first = False
    return None


def _damaged(path: pathlib.Path, index: int, why: str) -> str:
    return f"{path}, frame {index} is damaged ({why}); replace the video"
