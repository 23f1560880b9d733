"""A loss that jumps well above where it was, and stays there for more than one batch."""

from __future__ import annotations

from statistics import median

from ..frames import Alert, AnyFrame, Scalars

WARM_UP = 50
"""Samples before the first verdict: the two averages below have forgotten their start by then (0.95^50 = 8 %)."""

MEMORY = 0.95
"""Of the running mean and deviation: about the last 20 samples."""

DEVIATIONS = 8.0
"""How many mean absolute deviations above the mean: 6.4 σ for normal noise, and heavy-tailed batch losses pass."""

RISE = 0.3
"""And at least this share of the mean: where the noise is tiny, a jump that nobody would see is not an event."""

LARGEST = 1e150
"""Beyond it (and for NaN) the averages would overflow; ``Nonfinite`` has the word by then."""

QUIET = 200
"""Samples between two alerts: one event is one alert."""


class LossSpike:
    """Compares the median of the last three losses with a running mean and deviation; invariant to the loss's scale."""

    def __init__(self) -> None:
        self._attempt = 0
        self._forget()

    def _forget(self) -> None:
        self._mean = self._deviation = 0.0
        self._seen = 0
        self._since_alert = QUIET
        self._recent: list[tuple[int, float]] = []

    def see(self, frame: AnyFrame) -> Alert | None:
        loss = frame.values.get("loss") if isinstance(frame, Scalars) else None
        if loss is None or not abs(loss) < LARGEST:
            return None
        if frame.attempt != self._attempt:
            self._forget()  # a resumed run starts from another loss
            self._attempt = frame.attempt
        self._recent = [*self._recent[-2:], (frame.step, loss)]
        self._since_alert += 1
        alert = self._verdict(frame) if self._seen >= WARM_UP and self._since_alert > QUIET else None
        if alert:
            self._since_alert = 0
        self._learn(loss)
        return alert

    def _verdict(self, frame: AnyFrame) -> Alert | None:
        level = median(loss for _, loss in self._recent)
        limit = self._mean + max(DEVIATIONS * self._deviation, RISE * abs(self._mean))
        if level <= limit:
            return None
        onset = next(step for step, loss in self._recent if loss > limit)
        return Alert(
            kind="loss_spike", severity="warning", step=frame.step, attempt=frame.attempt, rank=frame.rank,
            onset_step=onset,
            message=f"Loss jumped from {self._mean:.3g} to {level:.3g}.",
            evidence={"before": self._mean, "after": level, "limit": limit},
            advice="If it does not come back within some hundred steps, lower the learning rate or clip gradients.",
        )  # fmt: skip

    def _learn(self, loss: float) -> None:
        if not self._seen:
            self._mean = loss
        self._seen += 1
        keep = min(MEMORY, 1 - 1 / self._seen)
        gap = abs(loss - self._mean)
        self._mean += (1 - keep) * (loss - self._mean)
        self._deviation += (1 - keep) * (gap - self._deviation)
