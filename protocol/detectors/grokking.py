"""Grokking: training accuracy is there long before validation accuracy comes (Power et al. 2022, arXiv:2201.02177)."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from ..frames import Alert, AnyFrame, Scalars
from .smooth import Scatter, Smooth
from .thresholds import OfGrokking


class Grokking:
    """LEARNING → ``memorized`` → ``grokking_onset`` → ``grokking_complete``, from ``train/acc`` and ``val/acc``."""

    __slots__ = (
        "_count", "_count_from", "_lowest", "_lr", "_rates", "_scatter", "_state", "_t", "_train",
        "_trains", "_val",
    )  # fmt: skip

    wants = ""

    def __init__(self, thresholds: OfGrokking | None = None) -> None:
        self._t = thresholds or OfGrokking()
        self._state = "learning"
        self._trains: deque[float] = deque(maxlen=3)
        self._train, self._val = Smooth(self._t.memory), Smooth(self._t.memory)
        self._scatter = Scatter(self._t.window)
        self._lowest = math.inf
        self._count = self._count_from = 0
        self._lr = math.nan
        self._rates: deque[float] = deque(maxlen=self._t.window)

    def see(self, frame: AnyFrame) -> Alert | None:
        if not isinstance(frame, Scalars):
            return None
        values = frame.values
        if 0 < values.get("lr", -1.0) < math.inf:
            self._lr = values["lr"]
        if math.isfinite(train := values.get("train/acc", math.nan)):
            self._trains.append(train)
            self._train.add(train)
        val = values.get("val/acc", math.nan)
        if not math.isfinite(val) or not self._trains or self._state == "complete":
            return None
        self._scatter.add(val)
        self._val.add(val)
        if self._lr > 0:
            self._rates.append(self._lr)
        if self._state == "learning":
            return self._memorized(frame.step, val)
        return self._onset(frame.step, val) if self._state == "memorized" else self._complete(frame.step, val)

    def _held(self, condition: bool, step: int) -> bool:
        """Whether the condition has been true for so many evaluations; ``_count_from`` is the first of them."""
        if not condition:
            self._count = 0
            return False
        self._count_from = self._count_from if self._count else step
        self._count += 1
        return self._count >= self._t.in_a_row

    def _enter(self, state: str) -> None:
        self._state, self._count = state, 0

    def _memorized(self, step: int, val: float) -> Alert | None:
        train = median(self._trains)
        if not self._held(train >= self._t.learned and train - self._val.value >= self._t.gap, step):
            return None
        self._enter("memorized")
        self._lowest = self._val.value
        return self._alert(
            "memorized", step, 0.95, train, val, f"The training data is memorised: accuracy {train:.2f}, on validation {val:.2f}.",
            "Weight decay and patience may still make it generalise; watch validation, not the training loss.",
        )  # fmt: skip

    def _onset(self, step: int, val: float) -> Alert | None:
        level = self._val.value
        self._lowest = min(self._lowest, level)
        if self._rates and max(self._rates) >= self._t.lr_jump * min(self._rates):
            self._count, self._lowest = 0, level
            return None
        needed = max(self._t.rise, self._t.deviations * self._scatter.sigma)
        if not self._held(level > self._lowest + needed and self._train.value > self._t.stays, step):
            return None
        self._enter("onset")
        return self._alert(
            "grokking_onset", step, 0.95, self._train.value, val, f"Grokking has begun: validation accuracy rose from {self._lowest:.2f} to {val:.2f}.",
            "Keep training: what generalises is taking over.",
        )  # fmt: skip

    def _complete(self, step: int, val: float) -> Alert | None:
        if self._val.value < self._t.complete * self._train.value:
            return None
        self._count_from = step
        self._enter("complete")
        return self._alert(
            "grokking_complete", step, 0.97, self._train.value, val, f"Grokked: validation accuracy {val:.2f}.",
            "A good moment for a checkpoint.",
        )  # fmt: skip

    def _alert(
        self, kind: str, step: int, confidence: float, train: float, val: float, message: str, advice: str
    ) -> Alert:
        evidence = {"train/acc": train, "val/acc": val}
        if kind == "grokking_onset":
            evidence["lowest val/acc"] = self._lowest
        return Alert(
            kind=kind, step=step, onset_step=self._count_from, confidence=confidence,
            message=message, evidence=evidence, advice=advice,
        )  # fmt: skip
