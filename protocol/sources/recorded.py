"""A run that is over, told at once from its recording: whole when it is short, folded in its older part when it is long."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator

from ..frames import AnyFrame
from ..recording.reader import Recording
from ..wire.order import Order
from .seeking import EXACT_FRAMES, Seeking
from .source import Link


class Recorded:
    """Gives what was recorded after frame ``after``, as fast as it is read; then it is over."""

    def __init__(
        self, recording: Recording, *, after: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.run = recording.header.run
        self._recording = recording
        self._clock = clock
        self._order = Order(after)
        self._frames: Iterator[AnyFrame] | None = self._told(after)

    @property
    def link(self) -> Link:
        lost = self._order.lost
        if self._frames is not None:
            return Link("live", "", lost, behind=True)
        ended = self._recording.ended
        if ended is not None:
            return Link("ended", ended.error, lost)
        return Link("ended early", "The training was killed or crashed; this is what it had recorded.", lost)

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        until = self._clock() + max_secs
        frames: list[AnyFrame] = []
        for frame in self._frames or ():
            admitted = self._order.admit(frame)
            if admitted is not None:
                frames.append(admitted)
            if len(frames) >= max_items or self._clock() >= until:
                return frames
        self._frames = None
        return frames

    def wait(self, secs: float, *descriptors: int) -> list[int]:
        """Wait until one of the descriptors can be read; those that can."""
        return select.select(descriptors, [], [], secs)[0]

    def close(self) -> None:
        self._frames = None
        self._recording.close()

    def _told(self, after: int) -> Iterator[AnyFrame]:
        recording = self._recording
        if recording.last_seq - after <= EXACT_FRAMES:
            yield from recording.frames(after)
        else:
            yield from Seeking(recording).lead_up(recording.last_seq)
