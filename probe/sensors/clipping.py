"""What clipping by norm did to the gradients of the last steps: its mean factor and its rate.

The update is s g with s = min(1, c/|g|), so the temperature that the weights feel is s̄ times that of the unclipped
gradients; where the noise decides whether there is clipping, it depends on the state, and that must be said.
"""

from __future__ import annotations

import math
from collections import deque

STEPS = 96
"""As many as a window of the temperature has estimates."""

AT_LIMIT = 0.999
"""A norm this near the threshold was brought there; torch divides by the norm plus 1e-6, so it ends just below."""

MOSTLY = 0.5
"""Share of clipped steps above which the noise is no longer independent of the state."""


class Clipping:
    def __init__(self) -> None:
        self._flags: deque[bool] = deque(maxlen=STEPS)
        self._unit = 1.0
        self._raw = False

    @property
    def rate(self) -> float:
        """Share of the last steps that were clipped."""
        return sum(self._flags) / len(self._flags) if self._flags else 0.0

    def see(self, before: float, after: float, limit: float | None, *, raw: bool) -> tuple[float, float]:
        """From the norm of the gradient before and after clipping: the unit of the former (one over the loss scale)
        and the clip factor s. ``raw`` says that ``before`` was read before clipping; else both are 1."""
        self._raw = raw
        self._flags.append(limit is not None and after >= AT_LIMIT * limit)
        if not raw or before <= 0:
            return 1.0, 1.0
        # A gradient that was zeroed, or is not finite, tells nothing of the loss scale.
        if not self._flags[-1] and 0 < after / before < math.inf:
            self._unit = after / before
        return self._unit, min(1.0, after / (before * self._unit))

    def words(self, limit: float | None, factor: float) -> list[str]:
        if limit is None:
            return []
        if not self._raw:
            return [f"gradients after clipping at {limit:g}, {self.rate:.0%} of them clipped"]
        if not self.rate:
            return [f"none clipped at {limit:g}"]
        head = "clipped: the noise depends on the state, " if self.rate > MOSTLY else ""
        return [f"{head}{self.rate:.0%} of steps clipped at {limit:g}, mean factor {factor:.2g}"]
