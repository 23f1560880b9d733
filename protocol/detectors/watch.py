"""All detectors at once: what the probe runs while it sends, and what a command runs over a file."""

from __future__ import annotations

from collections.abc import Callable

from ..frames import UNNUMBERED, Alert, AnyFrame
from .detector import Detector
from .loss_spike import LossSpike
from .nonfinite import Nonfinite

DETECTORS: tuple[Callable[[], Detector], ...] = (Nonfinite, LossSpike)


class Watch:
    """Shows every numbered frame to every detector. The alerts that come out have no ``seq`` and ``wall`` yet."""

    def __init__(self) -> None:
        self._detectors = [make() for make in DETECTORS]

    def see(self, frame: AnyFrame) -> list[Alert]:
        if isinstance(frame, (*UNNUMBERED, Alert)):
            return []
        return [alert for detector in self._detectors if (alert := detector.see(frame)) is not None]
