"""From packets to pictures, and which way up these are shown."""

from collections.abc import Iterator
from collections.abc import Mapping
import io
import types

import av
from av.sidedata import sidedata
import numpy as np
from PIL import Image

from tflm.media.videos import containers

_EXIF_ORIENTATION = 0x0112
# (a, b, c, d): a stored (x, y) is shown at (a x + c y, b x + d y), but for a
# shift.
UPRIGHT = (1, 0, 0, 1)
_OF_ORIENTATION = {
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


def _unnamed(cls, value):
    """A kind of side data that FFmpeg has and PyAV's table has not."""
    kind = object.__new__(cls)
    kind._name_, kind._value_ = f"KIND_{value}", value
    return kind


# Else no side data at all can be read from a frame that has such a kind.
sidedata.Type._missing_ = classmethod(_unnamed)


def decoded(
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
    for number, packet in enumerate(containers.demuxed(container, stream, [])):
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
        return [], containers.words(error)


def _described(
    frame: av.VideoFrame, turns: dict[int, tuple]
) -> tuple[av.VideoFrame, int, tuple]:
    """A frame, its packet's number, and its (a, b, c, d)."""
    number, exif_turn = frame.opaque
    return frame, number, exif_turn or _container_turn(frame, turns)


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
        turns[rotation] = UPRIGHT
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


def upright(frame: av.VideoFrame, turn: tuple) -> np.ndarray:
    """RGB, turned and mirrored to the nearest quarter."""
    image = frame.to_ndarray(format="rgb24")
    a, b, c, d = turn
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.swapaxes(0, 1), c, b
    image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)
