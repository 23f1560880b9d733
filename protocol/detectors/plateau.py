"""A loss that lay flat and then fell, where nobody measures the curvature along the gradient.

It says no more than that. Whether it was a saddle, the loss alone cannot tell: read so, it was right one time in eight.
"""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame, Curvature, Scalars
from .smooth import LARGEST, Smooth
from .thresholds import OfPlateau

NOISE_MEMORY = 0.98
"""Of the noise: the last 50 samples."""

OF_DIFFERENCES = math.sqrt(math.pi) / 2
"""From the mean absolute difference of neighbours to the standard deviation of one; unlike a median it sees heavy tails."""

LR_MOVED = 1.5
"""A learning rate that changed by more than this since the plateau began explains its end by itself."""


class Plateau:
    """Ages a level while the loss stays near it; tells when the loss has left an old one, downwards and for good."""

    __slots__ = (
        "_age", "_averaging", "_began", "_deviation", "_gone", "_knows_better", "_largest", "_last",
        "_left_at", "_level", "_quiet", "_rates", "_smooth", "_t",
    )  # fmt: skip

    wants = ""

    def __init__(self, thresholds: OfPlateau | None = None) -> None:
        self._t = thresholds or OfPlateau()
        # What the smoothing leaves of white noise.
        self._averaging = math.sqrt((1 - self._t.memory) / (1 + self._t.memory))
        self._largest = 0.0
        self._knows_better = False
        """Curvature along the gradient is measured: then ``Saddle`` has the word."""
        self._smooth, self._deviation = Smooth(self._t.memory), Smooth(NOISE_MEMORY)
        self._deviation.add(0.0)
        self._last = math.nan
        self._settle(math.nan, 0)

    def _settle(self, level: float, step: int) -> None:
        """A new level to stay near."""
        self._level, self._began = level, step
        self._age = self._gone = 0
        self._left_at = step
        self._quiet = False
        """On the plateau the loss scattered by so little that its samples count as they are."""
        self._rates = (math.inf, 0.0)

    def see(self, frame: AnyFrame) -> Alert | None:
        if isinstance(frame, Curvature) and frame.grad_curvature is not None:
            self._knows_better = True
        if self._knows_better or not isinstance(frame, Scalars):
            return None
        loss = frame.values.get("loss", math.nan)
        if not abs(loss) < LARGEST:
            return None
        lr = frame.values.get("lr", math.nan)
        if 0 < lr < math.inf:
            self._rates = min(self._rates[0], lr), max(self._rates[1], lr)
        self._largest = max(self._largest, abs(loss))
        if not math.isnan(self._last):
            self._deviation.add(abs(loss - self._last) * OF_DIFFERENCES)
        self._last = loss
        smooth = self._smooth.add(loss)
        scatter = self._t.deviations * self._deviation.value
        if not self._gone:
            self._quiet = scatter <= self._t.flat * abs(smooth)
        return self._moved(frame, *((loss, 0.0) if self._quiet else (smooth, scatter * self._averaging)))

    def _moved(self, frame: Scalars, level: float, noise: float) -> Alert | None:
        if math.isnan(self._level):
            self._settle(level, frame.step)
            return None
        flat = max(self._t.flat * abs(self._level), noise)
        if noise > self._t.noisiest * abs(self._level):  # whatever it does, it may be the batches
            self._settle(level, frame.step)
            return None
        fallen = self._level - level
        if abs(fallen) <= flat:  # there still, or again
            self._age += 1 + self._gone
            self._gone = 0
            return None
        if fallen < 0:
            self._settle(level, frame.step)
            return None
        if not self._gone:
            self._left_at = frame.step
        self._gone += 1
        fewest = self._t.quiet_samples if self._quiet else self._t.samples
        # No plateau, or too slow to be its end; how long either lasted is known to a sample.
        if self._age < fewest or (self._gone - 1) * self._t.quicker > self._age + 1:
            self._settle(level, frame.step)
            return None
        if fallen < max(self._t.drop * abs(self._level), 2 * flat):
            return None
        before, began, left, rates = self._level, self._began, self._left_at, self._rates
        self._settle(level, frame.step)
        if rates[1] > LR_MOVED * rates[0] or abs(before) < self._t.floor * self._largest:
            return None
        return Alert(
            kind="plateau_left", step=frame.step, onset_step=left, confidence=0.5,
            message=f"The loss left a plateau that it was on since step {began}: {before:.3g} → {level:.3g}.",
            evidence={"plateau since": float(began), "loss before": before, "loss after": level},
            advice="Whether that was a saddle only curvature can tell: give the probe a model and loss_fn.",
        )  # fmt: skip
