"""When curvature is measured: the sharpness alone often, the complete spectrum seldom, both denser when things move."""

from __future__ import annotations

import math

from lsmon.protocol.edge import HIGH, LOW, UNSURE, Edge

DENSEST = 25
"""Steps between two sharpness measurements right after an event: over fewer the Hessian turns little."""

SPARSEST = 250
"""The same when nothing moves: with some waiting for the budget, at least every 300."""

APPROACHING, AT_THE_EDGE = 0.5, 10
"""Of the optimizer's edge: from here on, and until it is told to hover there, the sharpness is wanted when half of the way
is done at the speed that it had, and at the edge every so many steps, since it crosses within some tens."""

AIM = 1.1
"""Of the way, where no look can be paid for halfway: a look just before the edge tells nothing, and the speed falls."""

PATIENCE = 20
"""Such looks without a rise, after which it does not approach the edge but rests below it, as many trainings do."""

COMPLETE = 5
"""A complete measurement takes four times the products of the sharpness alone, and comes a fifth as often."""

MOVED = 0.1
"""A relative change of the sharpness that is news: twice the solver's own error and the sampling's."""

STILL = 0.03

REST = 100
"""Steps between two requests that are granted: a loss that spikes at every step is one event."""


class Cadence:
    """Counts in training steps. ``due`` names what is to begin, ``found`` and ``request`` change the spacing."""

    def __init__(self) -> None:
        self.interval = 2 * DENSEST
        self._last: dict[str, int] = {}
        self._value: float | None = None
        self._requested: int | None = None
        self._edge = Edge()
        self._highest = 0.0
        self._patience = 0
        self._ratio = (0, math.nan)  # step and value of the last one
        self._left = 0.0  # steps to the edge at the speed that it had, ...
        self._over = 0  # ... over so many steps
        self.price = 0.0
        """Steps that pay for a look near the edge and leave enough for those at the crossing."""
        self.near_edge = False
        """It approaches the edge of stability, and has not been seen to hover there."""

    def due(self, kind: str, step: int) -> bool:
        """``kind`` is "sharpness" or "complete"; a complete measurement has the sharpness in it."""
        return step >= self.next(kind)

    def age(self, kind: str, step: int) -> int:
        """Steps since the last one began."""
        return step - self._last.get(kind, step - COMPLETE * SPARSEST)

    def next(self, kind: str) -> int:
        """The first step at which it is due; 0 when it has never been measured."""
        if kind not in self._last:
            return 0
        if kind == "complete":
            return self._last[kind] + self.interval * COMPLETE
        if not self.near_edge:
            return self._last[kind] + self.interval
        return min(self._last[kind] + self._approach(), self._last.get("plain", self._last[kind]) + SPARSEST)

    def began(self, kind: str, step: int) -> None:
        """``kind`` may also be "plain", the sharpness itself and not as the optimizer sees it."""
        self._last[kind] = step

    def covered(self, step: int) -> None:
        """A complete measurement of this step is done, and the sharpness was in it."""
        self._last["sharpness"] = max(step, self._last.get("sharpness", step))

    def found(self, sharpness: float) -> None:
        """The last value tells whether anything moves."""
        before, self._value = self._value, sharpness
        if before is None:
            return
        change = abs(sharpness - before) / max(abs(before), abs(sharpness), 1e-30)
        if change > MOVED:
            self.interval = max(DENSEST, self.interval // 2)
        elif change < STILL:
            self.interval = min(SPARSEST, self.interval * 3 // 2)

    def against_edge(self, step: int, ratio: float, error: float) -> None:
        """The last sharpness over the optimizer's edge."""
        hovers = self._edge.see(step, ratio, error)
        if step < self._ratio[0]:
            return  # a complete measurement takes long
        (then, before), self._ratio = self._ratio, (step, ratio)
        self._over = step - then
        speed = (ratio - before) / self._over if self._over else math.nan
        # Where it falls it may turn, as Adam's does, and within the band a few looks tell whether it hovers.
        self._left = max(0.0, (1.0 - ratio) / speed) if speed > 0 else 2 * DENSEST if ratio < LOW else 0.0
        self._patience -= 1
        # Half of the way is done, or what is left takes no longer than it may be till the next look.
        approaches = ratio >= APPROACHING or (speed > 0 and self._left <= SPARSEST)
        if not approaches:
            self._highest = 0.0
        elif ratio > (1 + STILL) * self._highest:
            self._highest, self._patience = ratio, PATIENCE
        # Nothing is told of a ratio that is hardly known, as on a handful of examples: then it need not be watched.
        known = error <= UNSURE * ratio
        self.near_edge = known and approaches and ratio <= HIGH and not hovers and self._patience > 0

    def _approach(self) -> int:
        """Steps to the next look near the edge."""
        wanted = min(max(self._left / 2, self.price), AIM * self._left)
        # Its speed may rise as well: what it was over some steps is not trusted for many more.
        trusted = max(2 * DENSEST, 2 * self._over, self.price)
        return round(max(AT_THE_EDGE, min(wanted, trusted, SPARSEST)))

    def request(self, step: int) -> bool:
        """Something happened: measure everything now, and densely for a while. False when that was just granted."""
        if self._requested is not None and 0 <= step - self._requested < REST:
            return False
        self._requested = step
        self.interval = DENSEST
        self._last.pop("complete", None)
        return True

    def restart(self) -> None:
        """The training went back: nothing measured before counts."""
        self.__init__()  # type: ignore[misc]
