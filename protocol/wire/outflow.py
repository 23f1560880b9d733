"""Frames in, records out: whole while the link carries them, folded when it does not. Never waits, and reads no clock."""

from __future__ import annotations

from .pace import LEAST_BYTES, Pace
from .records import RECORD_BYTES, Packer, State
from .thin import Backlog

PAUSE_SECS = 0.05
"""Between records: what comes in it travels together, and a person does not see it."""
BEAT_SECS = 1.0
"""A record goes out at least this often, so that a silent connection can be told from a silent training."""
LATE_SECS = 1.0
"""What would wait for longer than this is folded."""
PACKED_SHARE = 0.2
"""Packed bytes for one of lines, until it is known."""


class Outflow:
    """Add frames to ``backlog``, tell ``pace`` what arrived, and send what ``next`` gives."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.backlog = Backlog()
        self.said: State | None = None
        """The state that the last record told."""
        self._packer = Packer()
        self._share = PACKED_SHARE
        self._next_at = self._beat_at = 0.0

    def due(self, state: State, now: float) -> bool:
        """Whether there is something to say, and room for it."""
        news = state != self.said or now >= self._beat_at or (bool(self.backlog) and now >= self._next_at)
        return news and self.pace.room > 0

    def next(self, state: State, now: float) -> bytes:
        """The record that is due; nothing when none is."""
        if not self.due(state, now):
            return b""
        # The first has no frames: it is small, and shows how far away the other end is.
        lines = self._lines() if self.said is not None else []
        record = self._packer.pack(state, lines)
        if lines:
            share = len(record) / sum(len(line) + 1 for line in lines)
            self._share += 0.3 * (share - self._share)
        self.pace.sent(len(record), now, full=bool(lines and self.backlog))
        self.said = state
        self._beat_at = now + BEAT_SECS
        self._next_at = now if self.backlog else now + PAUSE_SECS
        return record

    def _lines(self) -> list[bytes]:
        rate = self.pace.rate
        carried = max(LEAST_BYTES, (rate or 0.0) * LATE_SECS) / self._share
        if rate is not None and self.backlog.size > carried:
            self.backlog.thin(round(carried / 2))
        return self.backlog.take(min(RECORD_BYTES, round(self.pace.room / self._share)))
