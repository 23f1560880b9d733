"""All detectors at once: what the probe runs while it sends, and what a command runs over a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import structs

from ..frames import Alert, AnyFrame, Curvature, Scalars
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
from .past import Past
from .plateau import Plateau
from .rest import Rest
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


SHOWN = (Scalars, Curvature)
"""What detectors look at."""


class Watch:
    """Shows every numbered frame to every detector. The alerts that come out have no ``seq`` and ``wall`` yet.

    It wants to see the alerts too, once they are numbered, so that a later one can name the earlier that it follows.
    When a new attempt goes back to an earlier step, the detectors go on from where they stood there.
    """

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self._detectors: Sequence[Detector] = [make(thresholds or Thresholds()) for make in DETECTORS]
        self._past = Past(self._detectors)
        self._numbers: dict[str, int] = {}
        self._rest = Rest()
        self._attempt = self._resumed = self._step = 0

    @property
    def wants(self) -> str:
        """Why denser curvature would help a detector that is undecided; empty when it would not."""
        return next((detector.wants for detector in self._detectors if detector.wants), "")

    def see(self, frame: AnyFrame) -> list[Alert]:
        if not isinstance(frame, SHOWN):
            if isinstance(frame, Alert) and frame.kind in CONTINUES.values():
                self._numbers[frame.kind] = frame.seq
            return []
        if frame.attempt > self._attempt:
            self._resume(frame)
        elif frame.attempt < self._attempt and frame.step >= self._resumed:
            return []  # measured on a line that was left
        found = self._show(frame)
        self._rest.come_to(self._step)
        return [
            structs.replace(
                alert,
                step=self._step,
                attempt=self._attempt,
                follows=self._numbers.get(CONTINUES.get(alert.kind, "")),
            )
            for alert in self._rest.pass_on(found)
        ]

    def _show(self, frame: AnyFrame) -> list[Alert]:
        """To all of them."""
        self._step = max(self._step, frame.step)
        found = [alert for detector in self._detectors if (alert := detector.see(frame)) is not None]
        self._past.add(frame, self._step, self._detectors)
        return found

    def _resume(self, frame: AnyFrame) -> None:
        if self._step >= frame.step:
            self._rest.go_back(frame.step)
            self._detectors, unseen = self._past.back(frame.step)
            self._step = 0
            for one in unseen:  # what they find was told
                self._show(one)
        self._attempt, self._resumed = frame.attempt, frame.step
