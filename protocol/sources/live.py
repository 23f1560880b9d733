"""A run on this machine, over its unix sockets."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..cards import Card, has_card
from ..frames import AnyFrame, RunEnded
from ..wire.client import Client
from .source import Link

STALE_SECS = 3.0
"""Three heartbeats missed."""
LOOK_SECS = 0.5
"""Between looks at whether the process is there; 10 microseconds each."""
GRACE_SECS = 0.5
"""After the process is gone, for what it said last to come through the kernel."""
JOIN_SECS = 5.0
"""A training answers within 50 ms of being asked, unless the process is stopped or its probe is off."""


class Live:
    """Watches the run of a session card: its history, then what it says, and whether it still lives.

    Raises Unreachable when the card names no usable socket.
    """

    def __init__(self, card: Card, *, after: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.card = card
        self._clock = clock
        self._client = Client(card.live, card.ask, after=after, clock=clock)
        self._opened = clock()
        self._look_at = 0.0
        self._gone_since: float | None = None
        self._dead = self._card_gone = False
        self._ended: RunEnded | None = None

    @property
    def link(self) -> Link:
        lost = self._client.order.lost
        if self._ended is not None:
            return Link("ended", self._ended.error, lost)
        if self._dead and self._card_gone:
            words = "The training ended, but its last frames did not come through; its recording has them."
            return Link("ended", words, lost)
        if self._dead:
            return Link(
                "dead", f"The training process {self.card.pid} is gone: it was killed, or it crashed.", lost
            )
        now = self._clock()
        heard = self._client.heard
        if heard is None:
            waited = now - self._opened
            words = f"joining {self.card.name}"
            if waited > JOIN_SECS:
                words = f"Process {self.card.pid} is there but has not answered for {waited:.0f} s; is it stopped?"
            return Link("connecting", words, lost)
        silent = now - heard
        if silent > STALE_SECS:
            words = f"Nothing heard for {silent:.0f} s, though process {self.card.pid} is there: stopped or stuck."
            return Link("stale", words, lost)
        return Link("live", "", lost)

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        """What has come since the last call. Raises NewerFormat when the run speaks a later lsmon."""
        until = self._clock() + max_secs
        frames: list[AnyFrame] = []
        for frame in self._client.frames():
            frames.append(frame)
            if isinstance(frame, RunEnded):
                self._ended = frame
            if len(frames) >= max_items or self._clock() >= until:
                return frames
        if self._ended is None and not self._dead:
            self._look(bool(frames))
        return frames

    def wait(self, secs: float, *descriptors: int) -> list[int]:
        """Wait until something has come, or one of the descriptors can be read; those that can."""
        return self._client.wait(secs, *descriptors)

    def close(self) -> None:
        self._client.close()

    def _look(self, heard: bool) -> None:
        now = self._clock()
        if now < self._look_at and self._gone_since is None:
            return
        self._look_at = now + LOOK_SECS
        if self.card.alive:
            self._gone_since = None
            return
        self._client.give_up()
        if self._gone_since is None or heard:
            self._gone_since = now
        if now - self._gone_since >= GRACE_SECS:
            self._dead = True
            self._card_gone = not has_card(self.card.run)
