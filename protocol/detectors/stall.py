"""Weights that hardly move and a loss that does not fall: the learning rate, or the start, is too small."""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame, Scalars
from .smooth import LARGEST, Smooth
from .thresholds import OfStall

FIRST = 10
"""Samples whose mean is the first loss: one batch may be anything."""


class Stall:
    """Needs ``update/ratio``: a loss that lies flat may have arrived, and says nothing by itself."""

    __slots__ = (
        "_count", "_edge", "_entry_loss", "_first", "_largest_lr", "_lr", "_seen", "_since", "_smooth",
        "_t", "_told",
    )  # fmt: skip

    wants = ""

    def __init__(self, thresholds: OfStall | None = None) -> None:
        self._t = thresholds or OfStall()
        self._first = 0.0
        self._seen = 0
        self._largest_lr = 0.0
        self._told = False
        self._smooth = Smooth(self._t.memory)
        self._count = self._since = 0
        self._entry_loss = self._lr = self._edge = math.nan

    def see(self, frame: AnyFrame) -> Alert | None:
        if not isinstance(frame, Scalars):
            return None
        values = frame.values
        loss = values.get("loss", math.nan)
        if abs(loss) < LARGEST:
            self._seen += 1
            if self._seen <= FIRST:
                self._first += (loss - self._first) / self._seen
            self._smooth.add(loss)
        if 0 <= values.get("lr", -1.0) < math.inf:
            self._lr = values["lr"]
            self._largest_lr = max(self._largest_lr, self._lr)
        if math.isfinite(edge := values.get("stability/ratio", math.nan)):
            self._edge = edge
        ratio = values.get("update/ratio", math.nan)
        return self._moved(frame, ratio) if 0 <= ratio < math.inf else None

    def _moved(self, frame: Scalars, ratio: float) -> Alert | None:
        level = self._smooth.value
        annealed = self._lr < self._t.annealed * self._largest_lr
        arrived = level < self._first - self._t.learned * abs(self._first)
        learns = self._count and level < self._entry_loss - self._t.fall * abs(self._entry_loss)
        if not ratio < self._t.update or annealed or arrived or learns or self._edge > self._t.edge:
            self._count = 0
            if ratio >= self._t.update:
                self._told = False
            return None
        if not self._count:
            self._since, self._entry_loss = frame.step, level
        self._count += 1
        if self._told or self._count < self._t.samples or math.isnan(level):
            return None
        self._told = True
        return Alert(
            kind="stall", severity="warning", step=frame.step, onset_step=self._since,
            confidence=0.9 if not math.isnan(self._edge) else 0.7,
            message=f"Stalled: a step changes the weights by {ratio:.1g} of themselves, and the loss stays at {level:.3g}.",
            evidence={"update/ratio": ratio, "loss": level, "loss since": self._entry_loss}
            | ({"stability/ratio": self._edge} if not math.isnan(self._edge) else {}),
            advice="Raise the learning rate tenfold; if nothing moves then, the start or the depth lets no gradient through.",
        )  # fmt: skip
