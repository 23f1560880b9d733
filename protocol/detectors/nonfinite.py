"""NaN and infinities: the first one is news, the ten thousandth is not."""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame
from ..names import scalars

QUIET = 100
"""Finite samples of a name after which it may alert again: a blip that comes back every few steps is one event."""

WATCHED = 1000
"""Names remembered; more than that is a mistake in the loop, and memory stays bounded."""


class Nonfinite:
    """Alerts when a value turns NaN or infinite, once an episode and name."""

    def __init__(self) -> None:
        self._finite_for: dict[str, int] = {}  # names in an episode → finite samples since

    def see(self, frame: AnyFrame) -> Alert | None:
        values, _ = scalars(frame)
        fresh = {}
        for name, value in values.items():
            if math.isfinite(value):
                if name in self._finite_for:
                    self._recover(name)
            elif name in self._finite_for:
                self._finite_for[name] = 0
            elif len(self._finite_for) < WATCHED:
                self._finite_for[name] = 0
                fresh[name] = value
        if not fresh:
            return None
        name, value = next(iter(fresh.items()))
        others = f" (and {len(fresh) - 1} more)" if len(fresh) > 1 else ""
        return Alert(
            kind="nonfinite", severity="critical", step=frame.step, attempt=frame.attempt, rank=frame.rank,
            onset_step=frame.step, message=f"{name} became {value}{others}.", evidence=fresh, confidence=1.0,
            advice="Stop and resume from the last good checkpoint with a lower learning rate or gradient clipping.",
        )  # fmt: skip

    def _recover(self, name: str) -> None:
        self._finite_for[name] += 1
        if self._finite_for[name] >= QUIET:
            del self._finite_for[name]
