"""Decoded pictures, put in order, and which of them are whole."""

import bisect
from collections.abc import Iterator
import dataclasses

import av
import numpy as np

from tflm.media.videos import decoding
from tflm.media.videos import packets


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A frame before it is turned and made RGB."""

    index: int
    why: str  # It is damaged; "" if it is not.
    frame: av.VideoFrame | None = None
    turn: tuple[int, int, int, int] = decoding.UPRIGHT

    def image(self) -> np.ndarray:
        """Uint8 `[H, W, 3]`, turned to the nearest quarter, and mirrored."""
        return decoding.upright(self.frame, self.turn)


class Ledger:
    """Puts decoded pictures in order, and finds out which ones are whole.

    A picture waits until it is known of all packets before it whether they are
    whole, as it may be built on them.

    Attributes:
        whys: number of a packet that has no whole picture, to the reason.
        is_in_order: whether the decoder gives pictures in the order of their
            time stamps.
    """

    def __init__(self, packets: packets.Packets):
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
        self._holes = np.flatnonzero(packets.is_before_hole).tolist()
        for number in self._holes:
            self.lose(number, "data are missing there in the file")

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
            is_next = bool(self._last_place < self._places[number])
            # Behind a hole a decoder may mix up the order.
            self.is_in_order &= is_next or bool(self._holes)
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
            self._count(count + packets.MOST_REORDERED + 1)
        else:
            self._pass(len(self._order))

    def ready(self) -> Iterator[Picture]:
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
            frame, turn = self._pictures.pop(number, (None, decoding.UPRIGHT))
            if not why and self._is_built_on_lost(number):
                why = "it is built on a frame that is not whole in the file"
            if why:
                yield Picture(self._next, why)
            else:
                yield Picture(self._next, why, frame, turn)
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
            if number - other > packets.MOST_REORDERED:
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
        hole = bisect.bisect_left(self._holes, first)
        is_behind_hole = any(other < number for other in self._holes[hole:])
        return is_behind_hole or any(
            other < number and self._places[other] >= first_shown
            for other in lost
        )
