"""Frames from anywhere as a source: for tests of the screen and for demonstrations of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain

from msgspec import structs

from ..frames import UNNUMBERED, AnyFrame
from .source import Link

_LIVE = Link("live")


class Synthetic:
    """Gives the frames of an iterable as fast as they are read, then those that are pushed.

    ``link`` is set by whoever makes it: it is what the screen is to show.
    """

    def __init__(self, frames: Iterable[AnyFrame] = (), *, link: Link = _LIVE) -> None:
        self.link = link
        self.closed = False
        self._frames = iter(frames)

    def push(self, *frames: AnyFrame) -> None:
        """Adds frames behind those that are still to be read."""
        self._frames = chain(self._frames, frames)

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        deadline = time.monotonic() + max_secs
        frames: list[AnyFrame] = []
        for frame in self._frames:
            frames.append(frame)
            if len(frames) >= max_items or time.monotonic() > deadline:
                break
        return frames

    def close(self) -> None:
        self.closed = True


def numbered(frames: Iterable[AnyFrame], first: int = 1) -> Iterator[AnyFrame]:
    """The frames with the numbers that the probe's sender would have given them."""
    seq = first - 1
    for frame in frames:
        seq += not isinstance(frame, UNNUMBERED)
        yield structs.replace(frame, seq=seq)
