"""All detectors at once: what the probe runs while it sends, and what a command runs over a file."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from ..frames import UNNUMBERED, Alert, AnyFrame
from .balance import Balance
from .curvature_spike import CurvatureSpike
from .detector import Detector
from .divergence import Divergence
from .edge_of_stability import EdgeOfStability
from .generalization import Generalization
from .grokking import Grokking
from .grokking_losses import GrokkingLosses
from .loss_spike import LossSpike
from .nonfinite import Nonfinite
from .overfitting import Overfitting
from .plateau import Plateau
from .saddle import Saddle
from .stall import Stall
from .thresholds import Thresholds

DETECTORS: tuple[Callable[[Thresholds], Detector], ...] = (
    lambda set_: Nonfinite(set_.nonfinite),
    lambda set_: LossSpike(set_.loss_spike),
    lambda set_: Divergence(set_.divergence),
    lambda set_: Saddle(set_.saddle),
    lambda set_: Plateau(set_.plateau),
    lambda set_: Grokking(set_.grokking),
    lambda set_: GrokkingLosses(set_.grokking),
    lambda set_: Generalization(set_.generalization),
    lambda set_: Overfitting(set_.overfitting),
    lambda set_: CurvatureSpike(set_.curvature_spike),
    lambda set_: Stall(set_.stall),
    lambda _: EdgeOfStability(),
    lambda _: Balance(),
)

CONTINUES = {
    "saddle_escape": "saddle_entered",
    "grokking_onset": "memorized",
    "grokking_complete": "grokking_onset",
    "generalization_lost": "grokking_complete",
    "divergence": "loss_spike",
}
"""Alert kind → the kind that it is the next chapter of."""

REST_STEPS = 200
"""Steps in which a kind alerts at most once, whatever comes in: nobody reads more, and one event is one alert."""

HELD_BACK = frozenset({"saddle_escape", "nonfinite"})
"""Kinds of which a second one within that time is another event: it is told when the time is over."""


class Watch:
    """Shows every numbered frame to every detector. The alerts that come out have no ``seq`` and ``wall`` yet.

    It wants to see the alerts too, once they are numbered, so that a later one can name the earlier that it follows.
    """

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self._detectors = [make(thresholds or Thresholds()) for make in DETECTORS]
        self._numbers: dict[str, int] = {}
        self._told: dict[str, int] = {}  # kind → steps trained when it alerted last
        self._held: dict[str, Alert] = {}
        self._trained = 0
        self._attempt = self._step = 0

    @property
    def wants(self) -> str:
        """Why denser curvature would help a detector that is undecided; empty when it would not."""
        return next((detector.wants for detector in self._detectors if detector.wants), "")

    def see(self, frame: AnyFrame) -> list[Alert]:
        if isinstance(frame, UNNUMBERED):
            return []
        if isinstance(frame, Alert):
            if frame.kind in CONTINUES.values():
                self._numbers[frame.kind] = frame.seq
            return []
        if frame.attempt != self._attempt:
            self._attempt, self._step = frame.attempt, frame.step
        # Of all attempts: a run that goes back again and again does not tell the same each time.
        self._trained += max(0, frame.step - self._step)
        self._step = max(self._step, frame.step)  # curvature comes with the step that it was taken at
        alerts = [alert for detector in self._detectors if (alert := detector.see(frame)) is not None]
        if not alerts and not self._held:
            return alerts
        told = [alert for alert in alerts if self._may_tell(alert)]
        told += [self._held.pop(kind) for kind in list(self._held) if self._rested(kind)]
        for alert in told:
            self._told[alert.kind] = self._trained
        return [
            structs.replace(
                alert,
                step=max(alert.step, frame.step),
                follows=self._numbers.get(CONTINUES.get(alert.kind, "")),
            )
            for alert in told
        ]

    def _may_tell(self, alert: Alert) -> bool:
        if self._rested(alert.kind):
            self._held.pop(alert.kind, None)
            return True
        if alert.kind in HELD_BACK:
            self._held[alert.kind] = alert
        return False

    def _rested(self, kind: str) -> bool:
        last = self._told.get(kind)
        return last is None or self._trained - last >= REST_STEPS
