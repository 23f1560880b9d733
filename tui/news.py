"""Which alerts of a live run are news to somebody who has just begun to watch, and which are its history."""

from __future__ import annotations

from lsmon.protocol.frames import Alert, AnyFrame, Heartbeat, RunEnded

RECENT_SECS = 60.0
"""What is not older when the watching begins is news."""


class News:
    """Passes on the alerts after the first heartbeat, and those shortly before it: a source tells the history first."""

    def __init__(self) -> None:
        self._past: list[Alert] | None = []
        """Alerts of which it is not known yet whether they are news."""
        self._wall = 0.0

    def see(self, frame: AnyFrame) -> list[Alert]:
        self._wall = max(self._wall, frame.wall)
        if isinstance(frame, Alert):
            if self._past is None:
                return [frame]
            self._past.append(frame)
        elif isinstance(frame, Heartbeat | RunEnded):
            return self.settle()
        return []

    def settle(self) -> list[Alert]:
        """The history has been told: what of it is news."""
        past, self._past = self._past or [], None
        return [alert for alert in past if alert.wall >= self._wall - RECENT_SECS]
