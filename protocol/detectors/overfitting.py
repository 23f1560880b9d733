"""Validation loss that rises from its lowest while the training loss goes on falling."""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame, Scalars
from .smooth import LARGEST, Between, Falling, Scatter
from .thresholds import OfOverfitting


class Overfitting:
    """One alert from one lowest validation loss; the next only after one that is clearly lower."""

    __slots__ = (
        "_again", "_best", "_best_at", "_count", "_first", "_lowest", "_lowest_at", "_scatter", "_seen_then", "_t", "_told",
        "_train", "_train_then", "_val",
    )  # fmt: skip

    wants = ""

    def __init__(self, thresholds: OfOverfitting | None = None) -> None:
        self._t = thresholds or OfOverfitting()
        self._lowest = math.inf
        self._lowest_at = 0
        self._best, self._best_at = math.inf, 0  # of a single evaluation, as a checkpoint is chosen
        self._train_then = self._seen_then = math.nan  # smoothed, and as a person saw it
        self._told = False
        self._again = -math.inf
        self._first = math.nan
        self._train = Between(Falling(self._t.train_memory))
        self._val, self._scatter = Falling(self._t.memory), Scatter()
        self._count = 0

    def see(self, frame: AnyFrame) -> Alert | None:
        if not isinstance(frame, Scalars):
            return None
        values = frame.values
        loss = values.get("loss", math.nan)
        if abs(loss) < LARGEST:
            self._train.add(loss)
        val = values.get("val/loss", math.nan)
        if not abs(val) < LARGEST:
            return None
        self._first = abs(val) if math.isnan(self._first) else self._first
        if val < self._best:
            self._best, self._best_at = val, frame.step
        self._scatter.add(val)
        level, train = self._val.add(val), self._train.take()
        if level < self._lowest:
            self._lowest, self._lowest_at = level, frame.step
            self._train_then, self._seen_then = train, self._train.fresh
            self._count, self._told = 0, self._told and level > self._again
            return None
        worse = max(
            self._t.rise * abs(self._lowest),
            self._t.material * self._first,
            self._t.deviations * self._scatter.sigma,
        )
        self._count = self._count + 1 if level > self._lowest + worse else 0
        # The smoothed one falls on for a while when the training breaks down, and what is seen falls by chance.
        falls = train < self._train_then and self._train.fresh < self._seen_then
        if self._told or self._count < self._t.in_a_row or not falls:
            return None
        self._told, self._again = True, self._lowest - self._t.again * abs(self._lowest)
        loss = min(train, self._train.fresh)  # the smoothed level lags behind what a person sees
        return Alert(
            kind="overfitting", severity="warning", step=frame.step, onset_step=self._lowest_at,
            confidence=0.9,
            message=(
                f"Overfitting: validation loss rose from {self._lowest:.3g} to {level:.3g} while the training loss "
                f"fell from {self._seen_then:.3g} to {loss:.3g}."
            ),
            evidence={
                "lowest val/loss": self._lowest, "val/loss": level, "loss then": self._seen_then, "loss": loss,
            },
            advice=f"The best checkpoint so far is that of step {self._best_at}; more data, weight decay or an earlier end help.",
        )  # fmt: skip
