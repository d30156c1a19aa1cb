"""Containers of videos: opened, read packet by packet, found to be cut off."""

from collections.abc import Iterator
import contextlib
import pathlib

import av

from tflm import errors
from tflm.media import kinds

_MOST_DEFECTS = 100  # Of a file's packets in a row that cannot be read.
_NO_VIDEO = (
    av.stream.Disposition.attached_pic | av.stream.Disposition.dependent
)  # A cover; a tile of a HEIC picture.
_FIRST_MP4_BOXES = (
    b"ftyp",
    b"styp",
    b"moov",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
)
_LATER_MP4_BOXES = (b"moof", b"mfra", b"sidx", b"uuid", b"udta", b"meta")


@contextlib.contextmanager
def opened(
    path: pathlib.Path,
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """Opens a file and finds its first stream of moving pictures.

    Raises:
        RawDataError: if it has none.
    """
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
            raise broken(path, f"of moving pictures it has {found}")
        (stream, *_) = streams
        if stream.codec_context is None:
            raise broken(path, "it is of a kind that FFmpeg does not decode")
        if stream.codec_context.name == "mjpeg":
            # Else half a picture is given without a word.
            stream.codec_context.options = {"err_detect": "explode"}
        # Of slices decoded at once, damage is not always told.
        stream.thread_type = "NONE"
        yield container, stream


def demuxed(
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
            defects.append(words(error))
            num_in_a_row += 1


def promised(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    rate: float,
) -> int:
    """Frames that the container says it shows; 0 if it does not say."""
    if "mov" in container.format.name:
        return sum(not entry.is_discard for entry in stream.index_entries)
    # The end's time, not the duration, is what an MKV has.
    end = (container.duration or 0) - (container.start_time or 0)
    return stream.frames or max(0, round(end / av.time_base * rate))


def is_cut(path: pathlib.Path) -> bool:
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
    *_, (_, end) = [(b"", 0), *_mp4_boxes(path)]
    return end > path.stat().st_size


def _mp4_boxes(path: pathlib.Path) -> Iterator[tuple[bytes, int]]:
    """Names of the boxes of an MP4 or MOV, and where they end; else none."""
    length = path.stat().st_size
    with open(path, "rb") as file:
        place = 0
        while place + 8 <= length:
            file.seek(place)
            head = file.read(16)
            name = head[4:8]
            if place == 0 and name not in _FIRST_MP4_BOXES:
                return
            size = int.from_bytes(head[:4], "big")
            if size == 1:
                size = int.from_bytes(head[8:], "big")
            elif size == 0:  # To the end of the file.
                size = length - place
            is_known = name in _FIRST_MP4_BOXES + _LATER_MP4_BOXES
            if size < 8 or (place + size > length and not is_known):
                return  # Something was written behind the last box.
            place += size
            yield name, place


@contextlib.contextmanager
def one_line(path: pathlib.Path) -> Iterator[None]:
    """Turns whatever is raised because of a file into its one line."""
    try:
        yield
    except errors.RawDataError:
        raise
    except (FileNotFoundError, PermissionError) as error:
        raise errors.RawDataError(
            f"{path} cannot be read ({words(error)}); put a video that you may"
            " read in its place"
        ) from error
    except Exception as error:
        raise broken(path, words(error)) from error


def words(error: Exception) -> str:
    """What an exception says, in one line."""
    if isinstance(error, (av.FFmpegError, OSError)) and error.strerror:
        return error.strerror  # Without number and path.
    return " ".join(f"{type(error).__name__}: {error}".split())


def broken(path: pathlib.Path, why: str) -> errors.RawDataError:
    """What to raise about a file that is no video, or none that is whole."""
    remedy = "replace it"
    with contextlib.suppress(OSError), open(path, "rb") as file:
        start = file.read(kinds.NUM_BYTES)
        kind = kinds.kind_of(start)
        if not start:
            why, remedy = "it is empty", "copy or fetch it again"
        elif kind and not kind.is_video:
            remedy = kind.remedy or "give it the ending of an image"
            return errors.RawDataError(f"{path} is {kind.name}; {remedy}")
        elif _lacks_index(path):
            why = "its index is missing: it is cut off, or was never finished"
            remedy = "copy or fetch it again, or mend it with untrunc"
    return errors.RawDataError(
        f"{path} does not decode as a video ({why}); {remedy}"
    )


def _lacks_index(path: pathlib.Path) -> bool:
    """Whether an MP4 or MOV has no box moov, without which none is read."""
    boxes = [name for name, _ in _mp4_boxes(path)]
    return bool(boxes) and b"moov" not in boxes
