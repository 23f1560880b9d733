"""NaN and infinities: the first one is news, the ten thousandth is not."""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame
from ..names import scalars
from .thresholds import OfNonfinite


class Nonfinite:
    """Alerts when a value turns NaN or infinite, once an episode; and when it takes the loss with it."""

    __slots__ = ("_finite_for", "_since", "_t")

    wants = ""

    def __init__(self, thresholds: OfNonfinite | None = None) -> None:
        self._t = thresholds or OfNonfinite()
        self._finite_for: dict[str, int] = {}  # names in an episode → finite samples since
        self._since = self._t.quiet  # frames since the last alert

    def see(self, frame: AnyFrame) -> Alert | None:
        values, _ = scalars(frame)
        fresh = {}
        for name, value in values.items():
            if math.isfinite(value):
                if name in self._finite_for:
                    self._recover(name)
            elif name in self._finite_for:
                self._finite_for[name] = 0
            elif len(self._finite_for) < self._t.watched:
                self._finite_for[name] = 0
                fresh[name] = value
        self._since += 1
        same = self._since <= self._t.quiet  # what the first one takes with it is no event of its own
        if not fresh or (same and "loss" not in fresh):
            return None
        self._since = 0
        name, value = next(iter(fresh.items()))
        others = f" (and {len(fresh) - 1} more)" if len(fresh) > 1 else ""
        return Alert(
            kind="nonfinite", severity="critical", step=frame.step, rank=frame.rank,
            onset_step=frame.step, message=f"{name} became {value}{others}.", evidence=fresh, confidence=1.0,
            advice="Stop and resume from the last good checkpoint with a lower learning rate or gradient clipping.",
        )  # fmt: skip

    def _recover(self, name: str) -> None:
        self._finite_for[name] += 1
        if self._finite_for[name] >= self._t.quiet:
            del self._finite_for[name]
