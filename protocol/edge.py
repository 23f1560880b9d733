"""Is the sharpness at the optimizer's own edge of stability?

Full-batch training raises the sharpness until it hovers there (Cohen et al. 2021, arXiv:2103.00065); gradient descent
settles at 1.02 of the edge, Nesterov at 0.92, Adam saw-tooths between 0.86 and 1.04. Seen from measurements of
``stability/ratio`` alone, in their order.
"""

from __future__ import annotations

import math
from collections import deque

LOW, HIGH = 0.85, 1.2
"""The band in which the ratio hovers."""

RECENT, CROSSED = 3, 2
"""Measurements in a row within the band; two when the second is beyond the edge, so that it is told as soon as it is seen."""

NEAR, SOON = 0.5, 10
"""One is enough that comes from below the edge, and not from far, so slowly that it is still in the band after so many
steps at that speed: measurements may be seldom, and an Adam has left the band again after twenty steps."""

KEPT = 8
"""Measurements in which the edge must have been crossed, or all of which must lie level within the band, ..."""
LEVEL = 0.003
"""... rising by no more than this from the first half to the second: then it has settled just below."""

UNSURE = 0.25
"""A ratio whose error is more than this part of it is not known well enough to hover anywhere: the sharpness of too few
examples is too high, several times on a language model."""

GONE = 0.7
"""Below this it has left the edge; between this and the band it may come back."""


class Edge:
    """``at`` is true while the ratio hovers there."""

    __slots__ = ("_seen", "at", "since")

    def __init__(self) -> None:
        self.at = False
        self.since = 0
        """Step of the first measurement within the band of those that led to it."""
        self._seen: deque[tuple[int, float]] = deque(maxlen=KEPT)

    def see(self, step: int, ratio: float, error: float = 0.0) -> bool:
        """One measurement; gives ``at``. One that took longer, and is older than the last one seen, tells nothing more."""
        late = bool(self._seen) and step < self._seen[-1][0]
        if late or not math.isfinite(ratio) or error > UNSURE * abs(ratio):
            return self.at
        self._seen.append((step, ratio))
        values = [value for _, value in self._seen]
        if self.at:
            self.at = all(value >= GONE for value in values[-RECENT:]) and min(values[-RECENT:]) <= HIGH
        else:
            # Several in the band: it comes slowly, and does not rush through.
            inside = 0
            while inside < len(values) and LOW <= values[-1 - inside] <= HIGH:
                inside += 1
            crossed = values[-1] >= 1.0 and (inside >= CROSSED or (inside > 0 and self._came_slowly()))
            self.at = crossed or (inside >= RECENT and (max(values) >= 1.0 or _level(values)))
            if self.at:
                self.since = next(s for s, value in self._seen if LOW <= value <= HIGH)
        return self.at

    def _came_slowly(self) -> bool:
        """The last measurement, from below the edge."""
        if len(self._seen) < 2:
            return False
        (then, before), (step, ratio) = self._seen[-2], self._seen[-1]
        return NEAR <= before < 1.0 and ratio + SOON * (ratio - before) / max(1, step - then) <= HIGH

    @property
    def mean(self) -> float:
        """Of the last three measurements, those of the way there left out."""
        recent = [value for step, value in self._seen if step >= self.since][-RECENT:]
        return math.fsum(recent) / len(recent) if recent else math.nan


def _level(values: list[float]) -> bool:
    if len(values) < KEPT or min(values) < LOW or max(values) > HIGH:
        return False
    half = KEPT // 2
    return math.fsum(values[half:]) - math.fsum(values[:half]) <= LEVEL * half
