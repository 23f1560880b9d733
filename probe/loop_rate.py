"""How fast the training loop goes, and whether it still does."""

from __future__ import annotations

from collections import deque

RATE_SECS = 5.0
"""The step rate is that of the last seconds: long enough to be steady, short enough to be news."""

IDLE_SECS, IDLE_TURNS = 10.0, 5.0
"""A loop of which nothing has come for so long, and for so many times as long as it takes from one sign of life to the
next, is idle: it evaluates, saves, waits for data or for another process, or hangs."""


class LoopRate:
    """Is asked once a second; ``acts`` counts whatever comes from the loop, steps and what is logged."""

    def __init__(self, now: float) -> None:
        self._acts = 0
        # When something had come, and the steps done by then.
        self._signs: deque[tuple[float, int]] = deque([(now, 0)])
        self._now = now

    def look(self, now: float, steps: int, acts: int) -> None:
        self._now = now
        if acts != self._acts or steps != self._signs[-1][1]:
            if self.idle:  # the stop is cut out: the speed is that of the loop while it goes
                cut = self.idle - self.between
                self._signs = deque((then + cut, done) for then, done in self._signs)
            self._acts = acts
            self._signs.append((now, steps))
        while len(self._signs) > 2 and now - self._signs[1][0] >= RATE_SECS:
            self._signs.popleft()

    @property
    def between(self) -> float:
        """Seconds from one sign of life to the next, the beginning being one."""
        (first, _), (last, _) = self._signs[0], self._signs[-1]
        return (last - first) / max(1, len(self._signs) - 1)

    @property
    def idle(self) -> float:
        """Seconds since the last sign of life where that is long; 0 where it is not, and before the first."""
        quiet = self._now - self._signs[-1][0]
        begun = len(self._signs) > 1
        return quiet if begun and quiet > max(IDLE_SECS, IDLE_TURNS * self.between) else 0.0

    @property
    def rate(self) -> float:
        """Steps a second; of a slow loop over its last steps, however long they took."""
        (first, before), (last, steps) = self._signs[0], self._signs[-1]
        if self.idle:
            return 0.0
        # A step that takes longer than the others is told before it is done.
        until = self._now if self._now - last > 2 * self.between else last
        return (steps - before) / (until - first) if until > first else 0.0
