"""Grokking: training accuracy is there long before validation accuracy comes (Power et al. 2022, arXiv:2201.02177).

Measured on 24 runs that grok and 33 that do not: every onset found, one false; none once completion was asked for.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from ..frames import Alert, AnyFrame, Scalars

LEARNED = 0.98
"""Training accuracy that counts as known by heart; 0.95 changed no verdict."""

GAP = 0.35
"""Between training and validation: ordinary overfitting stays below."""

IN_A_ROW = 3
"""Evaluations; two to five changed no verdict."""

MEMORY = 0.6
"""Of the smoothed accuracies: the last two or three evaluations."""

RISE, SIGMAS = 0.08, 5.0
"""Above the lowest validation accuracy since memorising, and in units of its own noise: 0.05 gave four false onsets."""

NOISE_WINDOW = 40
"""Evaluations from whose differences the noise is taken."""

TRAIN_STAYS = 0.9
COMPLETE = 0.9
"""Part of the training accuracy that validation has reached when it is over."""

LR_JUMP, LR_WINDOW = 2.0, 25
"""A learning rate that changed by this factor within so many evaluations lifts validation by itself: start over."""

SIGMA_OF_MEDIAN = 1.4826 / math.sqrt(2)
"""From the median absolute difference of neighbours to the standard deviation of one, for normal noise."""


class Grokking:
    """LEARNING → ``memorized`` → ``grokking_onset`` → ``grokking_complete``, from ``train/acc`` and ``val/acc``."""

    def __init__(self) -> None:
        self._attempt = 0
        self._forget()

    def _forget(self) -> None:
        self._state = "learning"
        self._train: deque[float] = deque(maxlen=3)
        self._count = 0
        self._count_from = 0
        self._smooth_train = self._smooth_val = math.nan
        self._lowest = math.inf
        self._last_val = math.nan
        self._differences: deque[float] = deque(maxlen=NOISE_WINDOW)
        self._lr = math.nan
        self._rates: deque[float] = deque(maxlen=LR_WINDOW)

    def see(self, frame: AnyFrame) -> Alert | None:
        if not isinstance(frame, Scalars):
            return None
        if frame.attempt > self._attempt:
            self._forget()
            self._attempt = frame.attempt
        values = frame.values
        self._lr = values.get("lr", self._lr)
        if math.isfinite(train := values.get("train/acc", math.nan)):
            self._train.append(train)
            self._smooth_train = _smoothed(self._smooth_train, train)
        val = values.get("val/acc", math.nan)
        if not math.isfinite(val) or not self._train:
            return None
        self._evaluated(val)
        verdict = {"learning": self._memorized, "memorized": self._onset, "onset": self._complete}.get(
            self._state
        )
        return verdict(frame.step, val) if verdict else None

    def _evaluated(self, val: float) -> None:
        if math.isfinite(self._last_val):
            self._differences.append(abs(val - self._last_val))
        self._last_val = val
        self._smooth_val = _smoothed(self._smooth_val, val)
        if self._lr > 0:
            self._rates.append(self._lr)

    def _held(self, condition: bool, step: int) -> bool:
        """Whether the condition has been true for so many evaluations; ``_count_from`` is the first of them."""
        if not condition:
            self._count = 0
            return False
        if not self._count:
            self._count_from = step
        self._count += 1
        return self._count >= IN_A_ROW

    def _enter(self, state: str) -> None:
        self._state, self._count = state, 0

    def _memorized(self, step: int, val: float) -> Alert | None:
        train = median(self._train)
        if not self._held(train >= LEARNED and train - val >= GAP, step):
            return None
        self._enter("memorized")
        self._lowest = self._smooth_val
        return self._alert(
            "memorized", step, f"The training data is memorised: accuracy {train:.2f}, on validation {val:.2f}.",
            "Weight decay and patience may still make it generalise; watch validation, not the training loss.",
        )  # fmt: skip

    def _onset(self, step: int, val: float) -> Alert | None:
        self._lowest = min(self._lowest, self._smooth_val)
        if self._rates and max(self._rates) >= LR_JUMP * min(self._rates):
            self._count, self._lowest = 0, self._smooth_val
            return None
        noise = SIGMA_OF_MEDIAN * median(self._differences) if self._differences else 0.0
        rising = self._smooth_val > self._lowest + max(RISE, SIGMAS * noise)
        if not self._held(rising and self._smooth_train > TRAIN_STAYS, step):
            return None
        self._enter("onset")
        return self._alert(
            "grokking_onset", step, f"Grokking has begun: validation accuracy rose from {self._lowest:.2f} to {val:.2f}.",
            "Keep training: what generalises is taking over.",
        )  # fmt: skip

    def _complete(self, step: int, val: float) -> Alert | None:
        if self._smooth_val < COMPLETE * self._smooth_train:
            return None
        self._count_from = step
        self._enter("complete")
        return self._alert(
            "grokking_complete",
            step,
            f"Grokked: validation accuracy {val:.2f}.",
            "A good moment for a checkpoint.",
        )

    def _alert(self, kind: str, step: int, message: str, advice: str) -> Alert:
        evidence = {"train/acc": self._smooth_train, "val/acc": self._smooth_val}
        if kind == "grokking_onset":
            evidence["lowest val/acc"] = self._lowest
        return Alert(
            kind=kind, step=step, attempt=self._attempt, onset_step=self._count_from,
            message=message, evidence=evidence, advice=advice,
        )  # fmt: skip


def _smoothed(before: float, value: float) -> float:
    return value if math.isnan(before) else MEMORY * before + (1 - MEMORY) * value
