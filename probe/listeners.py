"""Callbacks of the training loop on alerts: heard on the sending thread, called back on the training's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from lsmon.protocol.frames import Alert

from .guard import Guard

WAITING = 1000
"""Alerts between two training steps that are still told."""


class Listeners:
    """Who wants to hear of which kind. A callback that raises is told of, and not called again."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._callbacks: dict[str, list[Callable[[Alert], None]]] = {}
        self._waiting: deque[Alert] = deque(maxlen=WAITING)

    def add(self, kind: str, callback: Callable[[Alert], None]) -> None:
        self._callbacks.setdefault(kind, []).append(callback)

    def hear(self, alert: Alert) -> None:
        """From any thread."""
        if alert.kind in self._callbacks:
            self._waiting.append(alert)

    def call_back(self) -> None:
        """On the training thread."""
        while self._waiting:
            alert = self._waiting.popleft()
            for callback in list(self._callbacks.get(alert.kind, ())):
                if not self._guard.run(f"callback on {alert.kind}", callback, alert):
                    self._callbacks[alert.kind].remove(callback)
