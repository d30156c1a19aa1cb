"""Frames of video files, decoded one at a time.

What a container says of itself (duration, number of frames, index) is not
relied on. The packets of a file are read once without decoding them: their
time stamps tell how many frames there are, and which one is shown when. Each
packet has a number, which the decoder hands on to its picture, so that a
picture that is missing or damaged costs no other frame its place.
"""

import bisect
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import functools
import io
import math
import pathlib
import types

import av
from av.sidedata import sidedata
import numpy as np
from PIL import Image

from tflm import errors

SUFFIXES = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv",
    ".mts", ".m2ts", ".3gp",
)  # fmt: skip
_NO_STAMP = np.iinfo(np.int64).min
_DEFAULT_RATE = 25.0  # Frames a second, where a file has no time stamps.
_MOST_REORDERED = 32  # Packets; H.264 and HEVC allow 16.
_MOST_DEFECTS = 100  # Of a file's packets in a row that cannot be read.
_EXIF_ORIENTATION = 0x0112
_NO_VIDEO = (
    av.stream.Disposition.attached_pic | av.stream.Disposition.dependent
)  # A cover; a tile of a HEIC picture.
# (a, b, c, d): a stored (x, y) is shown at (a x + c y, b x + d y), but for a
# shift.
_UPRIGHT = (1, 0, 0, 1)
_OF_ORIENTATION = {
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
_FIRST_MP4_BOXES = (
    b"ftyp",
    b"styp",
    b"moov",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
)


def _unnamed(cls, value):
    """A kind of side data that FFmpeg has and PyAV's table has not."""
    kind = object.__new__(cls)
    kind._name_, kind._value_ = f"KIND_{value}", value
    return kind


# Else no side data at all can be read from a frame that has such a kind.
sidedata.Type._missing_ = classmethod(_unnamed)


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
    return len(_packets(path).seconds)


def frame_rate(path: pathlib.Path) -> float:
    """Frames a second, on average.

    Raises:
        RawDataError: if the file is no video.
    """
    seconds = _packets(path).seconds
    return (len(seconds) - 1) / seconds[-1] if seconds[-1] else _DEFAULT_RATE


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
    packets = _packets(path)
    count = len(packets.seconds)
    stop = count if end is None else min(count, end)
    if start < stop:
        with _one_line(path):
            for picture in _wanted(path, packets, start, stop, stride):
                seconds = float(packets.seconds[picture.index])
                why = picture.why
                image = None
                if not why:
                    try:
                        image = picture.image()
                    except Exception as error:
                        why = _words(error)
                problem = _damaged(path, picture.index, why) if why else ""
                yield Frame(picture.index, seconds, image, problem)
    if packets.cut and (end is None or end >= count):
        yield errors.Broken(
            str(path),
            f"{path} {packets.cut}; replace it",
        )


def _wanted(
    path: pathlib.Path,
    packets: "_Packets",
    start: int,
    stop: int,
    stride: int,
) -> Iterator["_Picture"]:
    """The same without the images.

    Damaged ones wait for the first that is whole, as there may be none.
    """
    waiting, is_video = [], False
    for picture in _pictures(path, packets):
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
        raise _broken(path, f"no frame of it decodes: {why}")


def samples(path: pathlib.Path, count: int) -> Iterator[np.ndarray]:
    """Yields at most `count` frames, evenly spread over a video.

    Damaged ones are left out.

    Raises:
        RawDataError: if the file is no video.
    """
    packets = _packets(path)
    last = len(packets.seconds) - 1
    wanted = sorted(
        {
            min(math.ceil((last + 1) * (number + 0.5) / count), last)
            for number in range(count)
        }
    )
    done = 0
    with _one_line(path):
        if packets.stamps is not None:
            with _opened(path) as (container, stream):
                for index in wanted:
                    picture = _sought(container, stream, packets, index)
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


@dataclasses.dataclass(frozen=True, eq=False)
class _Packets:
    """What the packets of a video tell, in the order of decoding.

    Attributes:
        is_key: bool `[packets]`; a key needs nothing that is before it.
        is_used: bool `[packets]`; whether others may be built on it.
        is_shown: bool `[packets]`; not if an edit list leaves it out.
        frames: int64 `[packets]`, which frame each is, -1 if it is not shown.
            None: the time stamps do not tell, and frames are counted as the
            decoder gives them.
        seconds: float `[frames]`, since the first.
        stamps: int64 `[frames]`, in the stream's time base; None if `frames`
            is.
        cut: what the file lacks, as "is cut off"; "" if nothing.
    """

    is_key: np.ndarray
    is_used: np.ndarray
    is_shown: np.ndarray
    frames: np.ndarray | None
    seconds: np.ndarray
    stamps: np.ndarray | None
    cut: str


def _packets(path: pathlib.Path) -> _Packets:
    """See `_Packets`; from memory if the file did not change.

    Raises:
        RawDataError: if the file is no video.
    """
    with _one_line(path):
        stat = path.stat()
        return _read_packets(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=16)  # Some 30 bytes a frame each.
def _read_packets(path: pathlib.Path, size: int, changed: int) -> _Packets:
    rows, defects = [], []
    with _opened(path) as (container, stream):
        for packet in _demuxed(container, stream, defects):
            rows.append(
                (
                    _NO_STAMP if packet.pts is None else packet.pts,
                    _NO_STAMP if packet.dts is None else packet.dts,
                    packet.is_keyframe or stream.codec_context.codec.intra_only,
                    _is_used(stream, packet),
                    not packet.is_discard and not _is_hidden(stream, packet),
                )
            )
            is_partial = packet.is_corrupt
        rate = float(stream.average_rate or _DEFAULT_RATE)
        time_base = float(stream.time_base)
        promised = _promised(container, stream, rate)
        reorders = bool(stream.codec_context.has_b_frames)
        is_interlaced = stream.codec_context.field_order > 1
    is_cut = _is_cut(path)
    if is_cut and rows and is_partial:
        rows.pop()
    stamps, decoding_stamps, *flags = np.array(rows, np.int64).reshape(-1, 5).T
    is_key, is_used, is_shown = (flag.astype(bool) for flag in flags)
    if is_interlaced:
        is_shown &= _gives_picture(path, stamps)
    if is_cut:
        is_shown &= stamps <= _last_before_gap(stamps[is_shown])
    shown = stamps[is_shown]
    count = len(shown)
    if not count:
        raise _broken(path, "it has no frame")
    places = np.empty(count, np.int64)
    places[np.argsort(shown, kind="stable")] = np.arange(count)
    moved = np.abs(places - np.arange(count)).max()
    # They do not if one is missing or there twice, or if the file goes back in
    # time. If pictures change places and stamps do not, as in AVI files, they
    # are those of decoding.
    stamps_tell = (
        _NO_STAMP not in shown
        and len(np.unique(shown)) == count
        and moved <= _MOST_REORDERED
        and (moved > 0 or not reorders)
    )
    numbered = np.full(len(stamps), -1, np.int64)
    numbered[is_shown] = places
    if _NO_STAMP in shown:
        shown = decoding_stamps[is_shown]
    seconds = np.arange(count) / rate
    if _NO_STAMP not in shown and moved <= _MOST_REORDERED:
        seconds = (np.sort(shown) - shown.min()) * time_base
    cut = ""
    if is_cut:
        of = f" of {promised}" if promised > count else ""
        cut = f"is cut off after {count}{of} frames"
    elif defects:
        cut = f"has {len(defects)} places that cannot be read ({defects[0]})"
    return _Packets(
        is_key,
        is_used,
        is_shown,
        numbered if stamps_tell else None,
        seconds,
        np.sort(shown) if stamps_tell else None,
        cut,
    )


def _last_before_gap(stamps: np.ndarray) -> int:
    """The stamp of the last frame that has all before it, where a file is cut.

    A frame that others are built on is stored before those shown before it.
    """
    stamps = np.sort(stamps)
    steps = np.diff(stamps)
    if not len(steps):
        return np.iinfo(np.int64).max
    near = np.arange(len(steps)) >= len(steps) - _MOST_REORDERED / 2
    gaps = np.flatnonzero(near & (steps > 1.5 * np.median(steps)))
    return stamps[gaps[0] if len(gaps) else -1]


def _gives_picture(path: pathlib.Path, stamps: np.ndarray) -> np.ndarray:
    """Which packets have a picture of their own: bool `[packets]`.

    Of interlaced video a packet may be a field, so that two give a picture.
    Those that are shown before the first key give none, if what they are built
    on was cut off; they count as pictures.
    """
    gives = stamps < stamps[0]
    with _opened(path) as (container, stream):
        for packet, pictures, why in _decoded(container, stream):
            numbers = [number for _, number, _ in pictures]
            if why:
                numbers.append(packet.opaque[0])
            gives[[n for n in numbers if n < len(gives)]] = True
    return gives


@dataclasses.dataclass(frozen=True, eq=False)
class _Picture:
    """A frame before it is turned and made RGB."""

    index: int
    why: str  # It is damaged; "" if it is not.
    frame: av.VideoFrame | None = None
    turn: tuple[int, int, int, int] = _UPRIGHT

    def image(self) -> np.ndarray:
        """Uint8 `[H, W, 3]`, turned to the nearest quarter, and mirrored."""
        return _upright(self.frame, self.turn)


def _pictures(path: pathlib.Path, packets: _Packets) -> Iterator[_Picture]:
    """All frames in order.

    Threads that each decode a frame lose more than the one that is damaged, so
    from the first damage on the file is decoded again without them.
    """
    done = 0
    for picture in _settled(path, _Ledger(packets), "FRAME", {}):
        if picture.why:
            break
        yield picture
        done += 1
    else:
        return
    # What no other is built on is not shown to the decoder, if damaged: what
    # it says of itself may confuse the decoder about the others.
    ledger = _Ledger(packets)
    for _ in _settled(path, ledger, "NONE", {}):
        pass
    if not ledger.is_in_order:
        packets = dataclasses.replace(packets, frames=None)
    unused = {
        number: why
        for number, why in ledger.whys.items()
        if not packets.is_used[number]
    }
    for picture in _settled(path, _Ledger(packets), "NONE", unused):
        if picture.index >= done:
            yield picture


def _settled(
    path: pathlib.Path,
    ledger: "_Ledger",
    thread_type: str,
    passed_over: dict[int, str],
) -> Iterator[_Picture]:
    """Decodes all that is not to be passed over."""
    with _opened(path) as (container, stream):
        stream.thread_type = thread_type
        for packet, pictures, why in _decoded(container, stream, passed_over):
            if why:
                ledger.lose(packet.opaque[0], why)
            for picture in pictures:
                ledger.add(*picture)
            yield from ledger.ready()
    ledger.end()
    yield from ledger.ready()


class _Ledger:
    """Puts decoded pictures in order, and finds out which ones are whole.

    A picture waits until it is known of all packets before it whether they are
    whole, as it may be built on them.

    Attributes:
        whys: number of a packet that has no whole picture, to the reason.
        is_in_order: whether the decoder gives pictures in the order of their
            time stamps.
    """

    def __init__(self, packets: _Packets):
        self._packets = packets
        count = len(packets.is_key)
        self._keys = np.flatnonzero(packets.is_key).tolist()
        self._is_known = ~packets.is_shown  # By number of the packet.
        self._num_known = 0  # Of all before it it is known what became.
        self._lost: list[int] = []  # Sorted; only those others may need.
        self.whys: dict[int, str] = {}
        self.is_in_order = packets.frames is not None
        self._last_place = -1
        self._pictures: dict[int, tuple] = {}
        self._next = 0  # Frame to be given.
        self._is_counted = packets.frames is None
        if self._is_counted:
            self._order: list[int] = []  # Number of each frame's packet.
            self._places = np.full(count, count)  # Frame of each packet.
            self._behind: list[int] = []  # Not placed, but later ones are.
            self._num_seen = 0
        else:
            shown = np.flatnonzero(packets.is_shown)
            self._order = shown[np.argsort(packets.frames[shown])]
            self._places = packets.frames
            self._num_passed = 0  # Frames; the decoder is beyond them.

    def lose(self, number: int, why: str) -> None:
        """Notes that a packet has no picture, or none that is whole."""
        if number < len(self._is_known) and number not in self.whys:
            self._is_known[number] = True
            self.whys[number] = why
            if self._packets.is_used[number]:
                bisect.insort(self._lost, number)

    def add(self, frame: av.VideoFrame, number: int, turn: tuple) -> None:
        """Takes what the decoder gives next."""
        if number >= len(self._is_known):
            return
        if not self._is_counted and self._packets.is_shown[number]:
            self.is_in_order &= bool(self._last_place < self._places[number])
            self._last_place = self._places[number]
        if self._is_known[number]:
            return
        if frame.key_frame and not self._packets.is_key[number]:
            bisect.insort(self._keys, number)
        if frame.is_corrupt:
            self.lose(number, "it is not whole in the file")
        else:
            self._pictures[number] = frame, turn
            self._is_known[number] = True
        if self._is_counted:
            self._count(number)
        else:
            self._pass(int(self._places[number]))

    def end(self) -> None:
        """Notes that the decoder has given all."""
        count = len(self._is_known)
        if self._is_counted:
            self._count(count + _MOST_REORDERED + 1)
        else:
            self._pass(len(self._order))

    def ready(self) -> Iterator[_Picture]:
        """The frames of which all is known."""
        count = len(self._is_known)
        while self._num_known < count and self._is_known[self._num_known]:
            self._num_known += 1
        while self._next < len(self._order):
            number = int(self._order[self._next])
            if not self._is_known[number]:
                return
            why = self.whys.get(number, "")
            if not why and self._num_known < number:
                return
            frame, turn = self._pictures.pop(number, (None, _UPRIGHT))
            if not why and self._is_built_on_lost(number):
                why = "it is built on a frame that is not whole in the file"
            if why:
                yield _Picture(self._next, why)
            else:
                yield _Picture(self._next, why, frame, turn)
            self._next += 1

    def _pass(self, frame: int) -> None:
        """The decoder gives pictures in order: those before are lost."""
        for number in self._order[self._num_passed : frame]:
            if not self._is_known[number]:
                self.lose(int(number), "the decoder gives no picture of it")
        self._num_passed = max(self._num_passed, frame)

    def _count(self, number: int) -> None:
        """Gives a packet and those lost before it the next places."""
        count = len(self._is_known)
        self._behind += [
            other
            for other in range(self._num_seen, min(number, count))
            if self._packets.is_shown[other]
        ]
        self._num_seen = max(self._num_seen, number + 1)
        for other in [other for other in self._behind if other != number]:
            if number - other > _MOST_REORDERED:
                self.lose(other, "the decoder gives no picture of it")
            if other in self.whys:
                self._place(other)
        if number < count:
            self._place(number)

    def _place(self, number: int) -> None:
        if number in self._behind:
            self._behind.remove(number)
        self._places[number] = len(self._order)
        self._order.append(number)

    def _is_built_on_lost(self, number: int) -> bool:
        """Whether it may be: all from the key before it on may be needed."""
        at = bisect.bisect_right(self._keys, number) - 1
        if at >= 0 and self._places[self._keys[at]] > self._places[number]:
            at -= 1  # Shown before its key: it needs what is before it, too.
        first = self._keys[at] if at >= 0 else 0
        # What is shown after a key does not need what is shown before it.
        first_shown = self._places[first] if at >= 0 else -1
        lost = self._lost[bisect.bisect_left(self._lost, first) :]
        return any(
            other < number and self._places[other] >= first_shown
            for other in lost
        )


def _decoded(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    passed_over: Mapping[int, str] = types.MappingProxyType({}),
) -> Iterator[tuple[av.Packet | None, list[tuple], str]]:
    """Decodes packet by packet, but those whose numbers are in `passed_over`.

    Yields:
        The packet, whose `opaque` starts with its number, at last None;
        pictures that the decoder gives now, mostly of packets before it, see
        `_described`; and why the packet does not decode, or "".
    """
    stream.codec_context.copy_opaque = True
    turns = {}
    for number, packet in enumerate(_demuxed(container, stream, [])):
        packet.opaque = number, _exif_turn(stream, packet)
        if number in passed_over:
            yield packet, [], passed_over[number]
            continue
        frames, why = _decode(stream, packet)
        yield packet, [_described(frame, turns) for frame in frames], why
    frames, _ = _decode(stream, None)  # What it held back.
    yield None, [_described(frame, turns) for frame in frames], ""


def _decode(
    stream: av.video.stream.VideoStream, packet: av.Packet | None
) -> tuple[list[av.VideoFrame], str]:
    try:
        return stream.decode(packet), ""
    except Exception as error:  # Whatever: it costs one frame.
        if isinstance(error, BlockingIOError):
            stream.codec_context.flush_buffers()  # Else it takes no other.
        return [], _words(error)


def _described(
    frame: av.VideoFrame, turns: dict[int, tuple]
) -> tuple[av.VideoFrame, int, tuple]:
    """A frame, its packet's number, and its (a, b, c, d)."""
    number, exif_turn = frame.opaque
    return frame, number, exif_turn or _container_turn(frame, turns)


def _sought(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    packets: _Packets,
    index: int,
) -> _Picture | None:
    """A frame by its time stamp; None if seeking does not lead to it."""
    wanted = int(packets.stamps[index])
    try:
        container.seek(wanted, stream=stream)  # The key before it.
    except Exception:  # Decoding from the first frame on does without.
        return None
    is_first = True
    for packet, pictures, why in _decoded(container, stream):
        for frame, _, turn in pictures:
            if frame.pts is None or frame.pts > wanted or frame.is_corrupt:
                return None
            if frame.pts == wanted:
                return _Picture(index, "", frame, turn)
        if why or (is_first and not packet.is_keyframe):
            return None
        is_first = False
    return None


def _demuxed(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    defects: list[str],
) -> Iterator[av.Packet]:
    """Packets that are not empty; adds to `defects` what cannot be read.

    Empty ones of an AVI file stand for frames that were dropped.
    """
    num_in_a_row = 0
    while num_in_a_row < _MOST_DEFECTS:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    num_in_a_row = 0
                    yield packet
            return
        except Exception as error:
            defects.append(_words(error))
            num_in_a_row += 1


@contextlib.contextmanager
def _opened(
    path: pathlib.Path,
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    # Of titles and comments that are no UTF-8 nothing is read.
    with av.open(str(path), metadata_errors="replace") as container:
        streams = [
            stream
            for stream in container.streams.video
            if not stream.disposition & _NO_VIDEO
        ]
        if not streams:
            still = "only a still one, such as a cover"
            found = still if container.streams.video else "none"
            raise _broken(path, f"of moving pictures it has {found}")
        (stream, *_) = streams
        if stream.codec_context is None:
            raise _broken(path, "it is of a kind that FFmpeg does not decode")
        if stream.codec_context.name == "mjpeg":
            # Else half a picture is given without a word.
            stream.codec_context.options = {"err_detect": "explode"}
        # Of slices decoded at once, damage is not always told.
        stream.thread_type = "NONE"
        yield container, stream


@contextlib.contextmanager
def _one_line(path: pathlib.Path) -> Iterator[None]:
    """Turns whatever is raised because of a file into its one line."""
    try:
        yield
    except errors.RawDataError:
        raise
    except Exception as error:
        raise _broken(path, _words(error)) from error


def _promised(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    rate: float,
) -> int:
    """Frames that the container says it shows; 0 if it does not say."""
    if "mov" in container.format.name:
        return sum(not entry.is_discard for entry in stream.index_entries)
    return stream.frames or round((container.duration or 0) / 1e6 * rate)


def _is_hidden(stream: av.video.stream.VideoStream, packet: av.Packet) -> bool:
    """Whether it is a picture that only others are built on."""
    codec = stream.codec_context.name
    if codec == "vp8":
        return not memoryview(packet)[0] & 0x10
    if codec == "vp9":
        first, last = memoryview(packet)[0], memoryview(packet)[-1]
        if last & 0xE0 == 0xC0:  # Several pictures, of which one is shown.
            return False
        profile_3 = first & 0x30 == 0x30
        after = first << 1 if profile_3 else first  # A reserved bit.
        return not after & 0x08 and not after & 0x02
    return False


def _is_used(stream: av.video.stream.VideoStream, packet: av.Packet) -> bool:
    """Whether other pictures may be built on this one."""
    codec = stream.codec_context.name
    data = memoryview(packet)
    if packet.is_disposable:
        return False
    if codec in ("mpeg1video", "mpeg2video"):
        at = bytes(data[:256]).find(b"\0\0\1\0")
        return at < 0 or at + 5 >= len(data) or data[at + 5] >> 3 & 7 != 3
    if codec == "mpeg4":
        at = bytes(data[:256]).find(b"\0\0\1\xb6")
        return at < 0 or at + 4 >= len(data) or data[at + 4] >> 6 != 2
    if codec == "h264":
        for unit in _h264_units(data, stream.codec_context.extradata or b""):
            if unit & 31 in (1, 2, 5):
                return bool(unit & 0x60)
    return True


def _h264_units(data: memoryview, extradata: bytes) -> Iterator[int]:
    """The first byte of each unit of an H.264 packet."""
    place = 0
    if extradata[:1] == b"\1" and len(extradata) > 4:  # As in MP4: lengths.
        num_bytes = (extradata[4] & 3) + 1
        while place + num_bytes < len(data):
            length = int.from_bytes(data[place : place + num_bytes], "big")
            yield data[place + num_bytes]
            place += num_bytes + length
        return
    whole = bytes(data)
    while 0 <= (place := whole.find(b"\0\0\1", place)) < len(whole) - 3:
        yield whole[place + 3]
        place += 3


def _is_cut(path: pathlib.Path) -> bool:
    """Whether a file is shorter than its header says.

    FFmpeg reads such a file to where it ends, mostly without an error.
    """
    return _is_cut_matroska(path) or _is_cut_mp4(path) or _is_cut_avi(path)


def _is_cut_avi(path: pathlib.Path) -> bool:
    """Whether the last part of an AVI reaches beyond the file."""
    length = path.stat().st_size
    with open(path, "rb") as file:
        place = 0
        while place + 12 <= length:
            file.seek(place)
            head = file.read(12)
            if head[:4] != b"RIFF" or head[8:] not in (b"AVI ", b"AVIX"):
                return False
            size = int.from_bytes(head[4:8], "little")
            if size in (0, 0xFFFFFFFF):  # Not known, if recording was ended.
                return False
            place += 8 + size + size % 2
    return place > length + 1


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


def _container_turn(
    frame: av.VideoFrame, turns: dict[int, tuple]
) -> tuple[int, int, int, int]:
    """How the file says that a frame is shown: (a, b, c, d).

    A frame and its side data refer to each other, so one that was asked for
    them is in memory until Python looks for cycles. Only the first frame of
    each rotation is asked.
    """
    rotation = frame.rotation
    if rotation not in turns:
        turns[rotation] = _UPRIGHT
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix is not None:
            (a, b, _), (c, d, _), _ = np.frombuffer(matrix, np.int32).reshape(
                3, 3
            )
            turns[rotation] = int(a), int(b), int(c), int(d)
    return turns[rotation]


def _exif_turn(
    stream: av.video.stream.VideoStream, packet: av.Packet
) -> tuple[int, int, int, int] | None:
    """What the EXIF data of a JPEG picture say; None if nothing."""
    if stream.codec_context.name != "mjpeg":
        return None
    data = bytes(packet)
    if b"Exif" not in data[:65536]:
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError):  # The decoder will tell.
        return None
    return _OF_ORIENTATION.get(orientation)


def _upright(frame: av.VideoFrame, turn: tuple) -> np.ndarray:
    """RGB, turned and mirrored to the nearest quarter."""
    image = frame.to_ndarray(format="rgb24")
    a, b, c, d = turn
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.swapaxes(0, 1), c, b
    image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)


def _damaged(path: pathlib.Path, index: int, why: str) -> str:
    return f"{path}, frame {index} is damaged ({why}); replace the video"


def _words(error: Exception) -> str:
    """What an exception says, in one line."""
    if isinstance(error, (av.FFmpegError, OSError)) and error.strerror:
        return error.strerror  # Without number and path.
    return " ".join(f"{type(error).__name__}: {error}".split())


def _broken(path: pathlib.Path, why: str) -> errors.RawDataError:
    return errors.RawDataError(
        f"{path} does not decode as a video ({why}); replace it"
    )
