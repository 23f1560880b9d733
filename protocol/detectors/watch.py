"""All detectors at once: what the probe runs while it sends, and what a command runs over a file."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from ..frames import UNNUMBERED, Alert, AnyFrame
from .balance import Balance
from .detector import Detector
from .edge_of_stability import EdgeOfStability
from .grokking import Grokking
from .loss_spike import LossSpike
from .nonfinite import Nonfinite
from .saddle import Saddle

DETECTORS: tuple[Callable[[], Detector], ...] = (
    Nonfinite,
    LossSpike,
    Saddle,
    Grokking,
    EdgeOfStability,
    Balance,
)

CONTINUES = {
    "saddle_escape": "saddle_entered",
    "grokking_onset": "memorized",
    "grokking_complete": "grokking_onset",
}
"""Alert kind → the kind that it is the next chapter of."""


class Watch:
    """Shows every numbered frame to every detector. The alerts that come out have no ``seq`` and ``wall`` yet.

    It wants to see the alerts too, once they are numbered, so that a later one can name the earlier that it follows.
    """

    def __init__(self) -> None:
        self._detectors = [make() for make in DETECTORS]
        self._numbers: dict[str, int] = {}

    def see(self, frame: AnyFrame) -> list[Alert]:
        if isinstance(frame, UNNUMBERED):
            return []
        if isinstance(frame, Alert):
            if frame.kind in CONTINUES.values():
                self._numbers[frame.kind] = frame.seq
            return []
        alerts = [alert for detector in self._detectors if (alert := detector.see(frame)) is not None]
        return [
            structs.replace(alert, follows=self._numbers.get(CONTINUES.get(alert.kind, "")))
            for alert in alerts
        ]
