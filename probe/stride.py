"""Which steps are told when they come faster than the budget can pay for telling each."""

from __future__ import annotations

import math

TOO_MUCH, LITTLE = 0.8, 0.3
"""Parts of the budget that the calls and the sending of steps may take before every second step is left out, and below
which they come back: less than half of the former, or it would go to and fro."""

RAREST = 64
PATIENCE = 2
"""Looks in a row, a second apart, that must agree: a start with its imports is no habit."""


class Stride:
    """Every ``every``-th step is told, a power of two; asked on the training thread, set on the sending one.

    What a loop logs and what sensors find is always told; so is a loss that is plainly not finite.
    """

    def __init__(self, allowed: float) -> None:
        self.every = 1
        self._allowed = allowed
        self._left_out = False
        """Whether a step has been: a loop that only logs has none, however fast it is."""
        self._then: tuple[float, float] | None = None
        self._over = self._under = 0

    def tells(self, step: int, loss: object) -> bool:
        told = not step % self.every or (type(loss) is float and not math.isfinite(loss))
        if not told:
            self._left_out = True
        return told

    def look(self, spent: float, now: float) -> str:
        """Steps and sending them have taken so many seconds by ``now``; what to say of it, or nothing."""
        if self._then is not None and now > self._then[1]:
            share = (spent - self._then[0]) / (now - self._then[1])
            self._over = self._over + 1 if share > TOO_MUCH * self._allowed else 0
            self._under = self._under + 1 if share < LITTLE * self._allowed else 0
            if self._over >= PATIENCE and self.every < RAREST and self._allowed > 0:
                self.every, self._over = self.every * 2, 0
            elif self._under >= PATIENCE and self.every > 1:
                self.every, self._under = self.every // 2, 0
        self._then = spent, now
        self._left_out = self._left_out and self.every > 1
        return f"one of {self.every} is told, to keep to the budget" if self._left_out else ""
