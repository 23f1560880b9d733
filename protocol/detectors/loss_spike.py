"""A loss that jumps well above where it was, and stays there for more than one batch."""

from __future__ import annotations

from statistics import median

from ..frames import Alert, AnyFrame, Scalars
from .smooth import LARGEST
from .thresholds import OfLossSpike


class LossSpike:
    """Compares the last three losses with a running mean and deviation: all of them, or two when the jump is plain."""

    __slots__ = ("_calm", "_deviation", "_largest", "_mean", "_recent", "_seen", "_t")

    wants = ""

    def __init__(self, thresholds: OfLossSpike | None = None) -> None:
        self._t = thresholds or OfLossSpike()
        self._largest = 0.0
        self._mean = self._deviation = 0.0
        self._seen = 0
        self._calm = self._t.calm  # samples in a row below the limit
        self._recent: list[tuple[int, float]] = []

    def see(self, frame: AnyFrame) -> Alert | None:
        loss = frame.values.get("loss") if isinstance(frame, Scalars) else None
        if loss is None or not abs(loss) < LARGEST:
            return None
        self._recent = [*self._recent[-2:], (frame.step, loss)]
        self._largest = max(self._largest, abs(loss))
        warm = self._seen >= self._t.warm_up
        limit = self._mean + max(self._t.deviations * self._deviation, self._t.rise * abs(self._mean))
        alert = self._verdict(frame, limit) if warm and self._calm >= self._t.calm else None
        if alert:
            self._calm = 0
        elif self._calm < self._t.calm:
            self._calm = self._calm + 1 if loss <= limit else 0
        self._learn(min(loss, limit) if warm else loss)  # or the first of a spike would hide the others
        return alert

    def _verdict(self, frame: AnyFrame, limit: float) -> Alert | None:
        losses = [loss for _, loss in self._recent]
        level = median(losses)
        plain = level > self._mean + self._t.plain * abs(self._mean)
        if (level if plain else min(losses)) <= limit or level < self._t.floor * self._largest:
            return None
        onset = next(step for step, loss in self._recent if loss > limit)
        return Alert(
            kind="loss_spike", severity="warning", step=frame.step, rank=frame.rank,
            onset_step=onset, confidence=0.95,
            message=f"Loss jumped from {self._mean:.3g} to {level:.3g}.",
            evidence={"before": self._mean, "after": level, "limit": limit},
            advice="If it does not come back within some hundred steps, lower the learning rate or clip gradients.",
        )  # fmt: skip

    def _learn(self, loss: float) -> None:
        if not self._seen:
            self._mean = loss
        self._seen += 1
        keep = min(self._t.memory, 1 - 1 / self._seen)
        gap = abs(loss - self._mean)
        self._mean += (1 - keep) * (loss - self._mean)
        self._deviation += (1 - keep) * (gap - self._deviation)
