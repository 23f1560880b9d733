"""The far end of ssh: a run's frames as records on stdout, as many as the link carries, until stdin ends."""

from __future__ import annotations

import os
import select
import time
from typing import Protocol

from ..sources.source import OVER, Source
from .outflow import BEAT_SECS, PAUSE_SECS, Outflow
from .records import MAGIC, VERSION, State

ABANDONED_SECS = 120.0
"""Without a sign of the other end for so long it is gone, though nothing says so: after a change of network TCP hopes
for hours. A viewer that only slept connects anew."""


class _Waitable(Source, Protocol):
    """A run, live or recorded."""

    @property
    def run(self) -> str: ...

    def wait(self, secs: float, *descriptors: int) -> list[int]: ...


def relay(source: _Waitable, out: int, stdin: int) -> int:
    """Write the run's frames to the descriptor ``out`` until it is over, or stdin is, or nobody reads any more; the exit
    code. Closes the source."""
    descriptors = (out, stdin)
    try:
        for descriptor in descriptors:
            os.set_blocking(descriptor, False)
        _Relay(source, out, stdin).run()
    except BrokenPipeError:
        pass  # the viewer is gone, which is how it says goodbye
    finally:
        for descriptor in descriptors:
            os.set_blocking(descriptor, True)
        source.close()
    return 0


class _Relay:
    def __init__(self, source: _Waitable, out: int, stdin: int) -> None:
        self._source = source
        self._out = out
        self._stdin = stdin
        self._outflow = Outflow()
        self._bytes = MAGIC + VERSION
        """Not written yet."""
        self._line = b""
        """What came of the line that the viewer is sending."""
        self._arrived = -1
        """Records that the viewer has taken in; below zero before it has said anything."""
        self._behind = True
        """Until all that was known at the start has been told; never again, or every frame would be two records."""
        self._deaf = False
        """Nobody is at the other end of stdin (``docker exec`` without ``-i``): what is written is taken for taken in."""
        self._moved_at = time.monotonic()

    def run(self) -> None:
        while self._listen():
            frames = self._source.read()
            self._outflow.backlog.add(frames)
            link, now = self._source.link, time.monotonic()
            over = link.phase in OVER
            last = over and not (frames or self._outflow.backlog)  # that it is over is said last
            truth = State(self._source.run, link.phase, link.words, self._behind and not last)
            state = truth if last or not over else self._outflow.said or State(self._source.run)
            self._bytes = self._bytes or self._outflow.next(state, now)
            self._behind = self._behind and (link.behind or bool(self._outflow.backlog))
            self._write(now)
            pending = bool(self._bytes or self._outflow.backlog)
            if last and not pending and self._outflow.said == state:
                return
            since = self._outflow.pace.waiting_since
            if since is not None and now - max(since, self._moved_at) > ABANDONED_SECS:
                return
            if frames or pending:
                due = not self._bytes and self._outflow.due(state, now)
                writing = [self._out] if self._bytes else []
                select.select([] if self._deaf else [self._stdin], writing, [], 0 if due else PAUSE_SECS)
            else:
                self._source.wait(BEAT_SECS / 2, *([] if self._deaf else [self._stdin]))

    def _listen(self) -> bool:
        """Take in what the viewer says; False when it has gone."""
        try:
            said = b"" if self._deaf else os.read(self._stdin, 1 << 12)
        except BlockingIOError:
            return True
        if not said:
            self._deaf = self._arrived < 0
            return self._deaf
        *lines, self._line = (self._line + said[-64:]).split(b"\n")
        if lines and lines[-1].isdigit():
            arrived = int(lines[-1][:18])
            self._outflow.pace.arrived(max(0, arrived - max(0, self._arrived)), time.monotonic())
            self._arrived = arrived
            self._moved_at = time.monotonic()
        self._line = self._line[-64:]
        return True

    def _write(self, now: float) -> None:
        if not self._bytes:
            return
        try:
            written = os.write(self._out, self._bytes)
        except BlockingIOError:
            return
        self._bytes = self._bytes[written:]
        if self._deaf:
            self._moved_at = now
            if not self._bytes:
                self._outflow.pace.arrived(1, now)
