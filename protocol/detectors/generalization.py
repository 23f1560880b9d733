"""Generalisation that was there and goes: the reverse of grokking, whatever brings it about."""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame, Scalars
from .smooth import Scatter, Smooth
from .thresholds import OfGeneralization


class Generalization:
    """Watches validation accuracy fall from its best while training accuracy stays."""

    __slots__ = (
        "_best", "_best_at", "_count", "_lowest", "_scatter", "_since", "_t", "_train", "_train_then",
        "_val",
    )  # fmt: skip

    wants = ""

    def __init__(self, thresholds: OfGeneralization | None = None) -> None:
        self._t = thresholds or OfGeneralization()
        self._train, self._val = Smooth(self._t.memory), Smooth(self._t.memory)
        self._scatter = Scatter()
        self._count = 0
        self._since = 0
        self._start(math.nan, 0)

    def _start(self, level: float, step: int) -> None:
        """From here on: what is lost must first be gained again."""
        self._lowest = self._best = level
        self._best_at = step
        self._train_then = math.nan

    def see(self, frame: AnyFrame) -> Alert | None:
        if not isinstance(frame, Scalars):
            return None
        values = frame.values
        train = values.get("train/acc", math.nan)
        if math.isfinite(train):
            self._train.add(train)
        val = values.get("val/acc", math.nan)
        if not math.isfinite(val):
            return None
        self._scatter.add(val)
        level = self._val.add(val)
        if not self._best >= level:
            if math.isnan(self._best):
                self._lowest = level
            self._best, self._best_at, self._train_then = level, frame.step, self._train.value
        had = self._best - self._lowest >= self._t.had
        if not had:
            self._lowest = min(self._lowest, level)
        lost = max(self._t.lost, self._t.deviations * self._scatter.sigma)
        fallen = had and level < self._best - lost
        stays = not self._train.value < self._train_then - self._t.stays
        if not (fallen and stays):
            self._count = 0
            return None
        self._since = frame.step if not self._count else self._since
        self._count += 1
        if self._count < self._t.in_a_row:
            return None
        best, best_at, train_level = self._best, self._best_at, self._train.value
        self._count = 0
        self._start(level, frame.step)
        known = math.isfinite(train_level)
        return Alert(
            kind="generalization_lost", severity="warning", step=frame.step, onset_step=self._since,
            confidence=0.9 if known else 0.6,
            message=(
                f"Generalisation was lost: validation accuracy fell from {best:.2f} (step {best_at}) to {level:.2f}"
                + (f", training accuracy is {train_level:.2f}." if known else ".")
            ),
            evidence={"best val/acc": best, "val/acc": level} | ({"train/acc": train_level} if known else {}),
            advice="Go back to the checkpoint of the best validation accuracy; see what changed in data or learning rate.",
        )  # fmt: skip
