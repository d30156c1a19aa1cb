"""What the packets of a video tell without being decoded."""

from collections.abc import Iterator
import dataclasses
import functools
import pathlib

import av
import numpy as np

from tflm.media.videos import containers
from tflm.media.videos import decoding

_NO_STAMP = np.iinfo(np.int64).min
DEFAULT_RATE = 25.0  # Frames a second, where a file has no time stamps.
MOST_REORDERED = 32  # Packets; H.264 and HEVC allow 16.


@dataclasses.dataclass(frozen=True, eq=False)
class Packets:
    """What the packets of a video tell, in the order of decoding.

    Attributes:
        is_key: bool `[packets]`; a key needs nothing that is before it.
        is_used: bool `[packets]`; whether others may be built on it.
        is_shown: bool `[packets]`; not if an edit list leaves it out.
        is_before_hole: bool `[packets]`; whether data after it are missing,
            which what comes up to the next key may be built on.
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
    is_before_hole: np.ndarray
    frames: np.ndarray | None
    seconds: np.ndarray
    stamps: np.ndarray | None
    cut: str


def read(path: pathlib.Path) -> Packets:
    """See `Packets`; from memory if the file did not change.

    Raises:
        RawDataError: if the file is no video.
    """
    with containers.one_line(path):
        stat = path.stat()
        return _read_packets(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=16)  # Some 30 bytes a frame each.
def _read_packets(path: pathlib.Path, size: int, changed: int) -> Packets:
    rows, defects = [], []
    with containers.opened(path) as (container, stream):
        for packet in containers.demuxed(container, stream, defects):
            rows.append(
                (
                    _NO_STAMP if packet.pts is None else packet.pts,
                    _NO_STAMP if packet.dts is None else packet.dts,
                    packet.is_keyframe or stream.codec_context.codec.intra_only,
                    _is_used(stream, packet),
                    not packet.is_discard and not _is_hidden(stream, packet),
                    packet.is_corrupt,
                )
            )
        rate = float(stream.average_rate or DEFAULT_RATE)
        time_base = float(stream.time_base)
        promised = containers.promised(container, stream, rate)
        reorders = bool(stream.codec_context.has_b_frames)
        is_interlaced = stream.codec_context.field_order > 1
    is_cut = containers.is_cut(path)
    if is_cut and rows and rows[-1][-1]:
        rows.pop()
    stamps, decoding_stamps, *flags = np.array(rows, np.int64).reshape(-1, 6).T
    is_key, is_used, is_shown, is_partial = (
        flag.astype(bool) for flag in flags
    )
    # FFmpeg's parser is one packet behind what it hears of holes. Where two
    # recordings are joined, nothing is missing, and a key follows.
    is_before_hole = is_partial & ~np.append(is_key, [True, True])[2:]
    is_before_hole[1:] |= is_before_hole[:-1].copy()
    if is_interlaced:
        is_shown &= _gives_picture(path, stamps)
    if is_cut:
        is_shown &= stamps <= _last_before_gap(stamps[is_shown])
    shown = stamps[is_shown]
    count = len(shown)
    if not count:
        raise containers.broken(path, "it has no frame")
    places = np.empty(count, np.int64)
    places[np.argsort(shown, kind="stable")] = np.arange(count)
    moved = np.abs(places - np.arange(count)).max()
    # They do not if one is missing or there twice, or if the file goes back in
    # time. If pictures change places and stamps do not, as in AVI files, they
    # are those of decoding.
    stamps_tell = (
        _NO_STAMP not in shown
        and len(np.unique(shown)) == count
        and moved <= MOST_REORDERED
        and (moved > 0 or not reorders)
    )
    numbered = np.full(len(stamps), -1, np.int64)
    numbered[is_shown] = places
    if _NO_STAMP in shown:
        shown = decoding_stamps[is_shown]
    seconds = np.arange(count) / rate
    if _NO_STAMP not in shown and moved <= MOST_REORDERED:
        seconds = (np.sort(shown) - shown.min()) * time_base
    cut = ""
    if is_cut:
        of = f" of {promised}" if promised > count else ""
        cut = f"is cut off after {count}{of} frames"
    elif defects:
        cut = f"has {len(defects)} places that cannot be read ({defects[0]})"
    return Packets(
        is_key,
        is_used,
        is_shown,
        is_before_hole,
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
    near = np.arange(len(steps)) >= len(steps) - MOST_REORDERED / 2
    gaps = np.flatnonzero(near & (steps > 1.5 * np.median(steps)))
    return stamps[gaps[0] if len(gaps) else -1]


def _gives_picture(path: pathlib.Path, stamps: np.ndarray) -> np.ndarray:
    """Which packets have a picture of their own: bool `[packets]`.

    Of interlaced video a packet may be a field, so that two give a picture.
    Those that are shown before the first key give none, if what they are built
    on was cut off; they count as pictures.
    """
    gives = stamps < stamps[0]
    with containers.opened(path) as (container, stream):
        for packet, pictures, why in decoding.decoded(container, stream):
            numbers = [number for _, number, _ in pictures]
            if why:
                numbers.append(packet.opaque[0])
            gives[[n for n in numbers if n < len(gives)]] = True
    return gives


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
