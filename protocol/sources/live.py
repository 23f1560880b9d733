"""A run on this machine, over its unix sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import chain
from pathlib import Path

from ..cards import Card, has_card
from ..errors import LsmonError
from ..frames import AnyFrame, RunEnded
from ..recording.folder import last_written
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

    When the process is gone, what it recorded and did not get through comes from its recording.
    Raises Unreachable when the card names no usable socket.
    """

    def __init__(self, card: Card, *, after: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.card = card
        self._clock = clock
        self._client = Client(card.live, card.ask, after=after, clock=clock)
        self._opened = clock()
        self._look_at = 0.0
        self._gone_since: float | None = None
        self._recorded: Generator[AnyFrame, None, None] | None = None
        self._dead = self._card_gone = False
        self._ended: RunEnded | None = None

    @property
    def run(self) -> str:
        return self.card.run

    @property
    def link(self) -> Link:
        lost = self._client.order.lost
        if self._ended is not None:
            return Link("ended", self._ended.error, lost)
        if self._dead and self._card_gone:
            return Link("ended", "The training ended, but its last frames did not come through.", lost)
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
            return Link("connecting", words, lost, behind=True)
        silent = now - heard
        if silent > STALE_SECS:
            words = f"Nothing heard for {silent:.0f} s, though process {self.card.pid} is there: {self._why_silent(silent)}."
            return Link("stale", words, lost, self._client.behind)
        return Link("live", "", lost, self._client.behind)

    def _why_silent(self, silent: float) -> str:
        written = last_written(Path(self.card.recording)) if self.card.recording else None
        if written is not None and time.time() - written < silent - STALE_SECS:
            return "it goes on, its recording grows; open it anew"
        return "stopped or stuck"

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        """What has come since the last call. Raises NewerFormat when the run speaks a later lsmon."""
        until = self._clock() + max_secs
        frames: list[AnyFrame] = []
        for frame in chain(self._recorded or (), self._client.frames()):
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
        if self._recorded is not None:
            self._recorded.close()
        self._client.close()

    def _look(self, heard: bool) -> None:
        now = self._clock()
        if now < self._look_at and self._gone_since is None:
            return
        self._look_at = now + LOOK_SECS
        if self.card.alive:
            self._gone_since = None
            return
        if self._gone_since is None:
            self._gone_since = now
            self._recorded = self._from_recording()
        elif heard:
            self._gone_since = now
        if now - self._gone_since >= GRACE_SECS:
            self._dead = True
            self._card_gone = not has_card(self.card.run)

    def _from_recording(self) -> Generator[AnyFrame, None, None]:
        """What was recorded after the last frame that came; then nothing fills a gap any more."""
        from ..recording.reader import Recording  # rarely needed, and lsmon starts quicker without

        order = self._client.order
        try:
            recording = Recording.open(Path(self.card.recording)) if self.card.recording else None
        except LsmonError:
            recording = None
        if recording is not None:
            with closing(recording):
                same = recording.header.run == self.card.run
                for frame in recording.frames(order.last) if same else ():
                    if (admitted := order.admit(frame)) is not None:
                        yield admitted
        self._client.give_up()
