"""A clock for tests: time passes when it is told to."""

from __future__ import annotations


class Clock:
    """Stands in for ``time.monotonic``."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
