"""A sharpness that jumps well above where it was, though the loss has not fallen for it."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from ..frames import Alert, AnyFrame, Curvature
from .thresholds import OfCurvatureSpike


class CurvatureSpike:
    """Compares λ_max with the median of the last measurements, on a logarithmic scale."""

    __slots__ = ("_armed", "_batch", "_last", "_t")

    wants = ""

    def __init__(self, thresholds: OfCurvatureSpike | None = None) -> None:
        self._t = thresholds or OfCurvatureSpike()
        self._batch = 0
        self._forget()

    def _forget(self) -> None:
        self._last: deque[tuple[float, float]] = deque(maxlen=self._t.measurements)  # ln λ_max and the loss
        self._armed = True

    def see(self, frame: AnyFrame) -> Alert | None:
        if not isinstance(frame, Curvature) or not frame.top:
            return None
        if frame.batch != self._batch:  # other examples, another sharpness
            self._batch = frame.batch
            self._forget()
        sharpness = frame.top[0].value
        if not 0 < sharpness < math.inf:
            return None
        value = math.log(sharpness)
        loss = math.nan if frame.loss is None else frame.loss
        alert = self._verdict(frame, value, loss) if len(self._last) >= self._t.fewest else None
        self._last.append((value, loss))
        return alert

    def _verdict(self, frame: Curvature, value: float, loss: float) -> Alert | None:
        middle = median(before for before, _ in self._last)
        spread = 1.4826 * median(abs(before - middle) for before, _ in self._last)
        limit = middle + max(math.log(self._t.times), self._t.deviations * spread)
        if value <= limit:
            self._armed = True
            return None
        jumped = value > self._last[-1][0] + math.log(self._t.at_once)
        before = self._last[-1][1]
        fell = loss < before - (1 - self._t.loss_stays) * abs(before)
        if not jumped or fell or not self._armed:
            return None
        self._armed = False
        before, after = math.exp(middle), frame.top[0].value
        return Alert(
            kind="curvature_spike", severity="warning", step=frame.step, onset_step=frame.step,
            confidence=0.9 if frame.top[0].converged else 0.6,
            message=f"Sharpness jumped from {before:.3g} to {after:.3g}, and the loss has not fallen for it.",
            evidence={"hessian/max before": before, "hessian/max": after, "limit": math.exp(min(limit, 700.0))}
            | ({"loss": loss} if math.isfinite(loss) else {}),
            advice="The next steps may overshoot: compare with the edge 2/lr, and lower the learning rate if it stays.",
        )  # fmt: skip
