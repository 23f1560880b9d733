"""A training that loses what it had learned, or is worse than at its start, and does not come back."""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame, Scalars
from .smooth import LARGEST, Scatter, Smooth
from .thresholds import OfDivergence

FIRST = 10
"""Samples whose mean is the first loss: one batch may be anything."""


HALF = 0.5
"""Of what is bad: once told, it is over when the loss has come back so far, and not where it only crosses the limit."""


LONGEST = 10
"""Times ``samples``, for which a loss may be on its way back: under loud noise it seems to be for ever."""


class Divergence:
    """Counts how long the smoothed loss has been bad without coming back; one alert until it has recovered."""

    __slots__ = (
        "_bad_for", "_best", "_count", "_first", "_peak", "_scatter", "_seen", "_since", "_smooth", "_squares", "_t",
        "_told",
    )  # fmt: skip

    wants = ""

    def __init__(self, thresholds: OfDivergence | None = None) -> None:
        self._t = thresholds or OfDivergence()
        self._first = self._squares = 0.0
        self._scatter = Scatter()
        self._seen = 0
        self._best = math.inf
        self._told = False
        self._count = self._bad_for = 0
        self._peak = 0.0
        self._smooth = Smooth(self._t.memory)
        self._since = 0

    def _calm(self) -> None:
        self._count = self._bad_for = 0
        self._peak = 0.0

    def _bad(self, level: float, part: float = 1.0) -> bool:
        """Above the first loss, or with much of the gain gone, and by more than it scatters; ``part`` is enough."""
        size = max(abs(self._first), math.sqrt(self._squares / (FIRST - 1)))
        noise = self._t.deviations * self._scatter.sigma
        gained = max(self._first - self._best, 0.0)
        lost = max(self._t.lost * gained, 2 * abs(self._best), noise)
        worse = level > self._first + part * max(self._t.above * size, noise)
        return worse or (gained > 0.2 * size and level > self._best + part * lost)

    def see(self, frame: AnyFrame) -> Alert | None:
        loss = frame.values.get("loss", math.nan) if isinstance(frame, Scalars) else math.nan
        if not abs(loss) < LARGEST:
            return None
        self._seen += 1
        if self._seen <= FIRST:
            off = loss - self._first
            self._first += off / self._seen
            self._squares += off * (loss - self._first)
        level = self._smooth.add(loss)
        if self._seen <= FIRST:
            self._scatter.add(loss)
            return None
        self._best = min(self._best, level)
        if not self._bad(level):
            self._scatter.add(loss)  # and not what it scatters by once it is lost
            self._calm()
            self._told = self._told and self._bad(level, HALF)
            return None
        self._bad_for += 1
        back = self._peak - (1 - self._t.recovering) * abs(self._peak)
        returning = level < back and self._bad_for < LONGEST * self._t.samples
        if not self._count or returning:
            self._count, self._since, self._peak = 0, frame.step, level
        self._count += 1
        self._peak = max(self._peak, level)
        if self._told or self._count < max(self._t.samples, self._t.share * self._seen):
            return None
        self._told = True
        return Alert(
            kind="divergence", severity="critical", step=frame.step, onset_step=self._since,
            confidence=0.9,
            message=(
                f"Diverging: the loss is {level:.3g} and does not come back; it began at {self._first:.3g} "
                f"and its best was {self._best:.3g}."
            ),
            evidence={"loss": level, "first loss": self._first, "best loss": self._best},
            advice="Stop and resume from the last good checkpoint with a lower learning rate, warm-up or clipping.",
        )  # fmt: skip
