"""Whether a loop that only logs has gone back: ``step`` knows it at once, ``log`` may also be told late."""

from __future__ import annotations

from collections.abc import Iterable

LEAST, PART = 10, 0.02
"""Steps by which a quantity falls behind its own last one, and part of all its steps: less is the order of threads."""

NAMES = 1000
"""Remembered; more are a mistake in the loop."""


class Resumes:
    """By the steps of each quantity: one of its own is measured late in many a loop, at a step behind the others'."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def back(self, names: Iterable[str], step: int) -> bool:
        """Whether these come from a step to which the loop has gone back; asked once for all that is logged."""
        last = self._last
        gone = any(step < last[name] - max(LEAST, PART * last[name]) for name in names if name in last)
        if gone:
            last.clear()
        for name in names:
            if name in last or len(last) < NAMES:
                last[name] = step
        return gone
