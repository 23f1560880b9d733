"""One event is one alert: a kind rests after it has alerted, and a resumed run does not tell again what it lived again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ..frames import Alert

REST_STEPS = 200
"""Steps in which a kind alerts at most once, whatever comes in: nobody reads more."""

LARGEST_STRIDE = 100
"""Steps from one logged step to the next, on average: what counts in larger strides counts tokens or examples, and then
a stride is taken for a step."""

HELD_BACK = frozenset({"saddle_escape", "nonfinite"})
"""Kinds of which a second one within that time is another event: it is told when the time is over."""

REMEMBERED = 200
"""Alerts of which it is known when they were told."""


class Told(NamedTuple):
    kind: str
    onset: int
    step: int


class Rest:
    """Which of the alerts that were found are told, and when. Time is steps trained, of all attempts together: a run that
    goes back again and again is not told of each time."""

    def __init__(self) -> None:
        self._trained = self._advances = 0
        self._at = 0  # the last step
        self._last: dict[str, int] = {}  # kind → steps trained when it was told last
        self._held: dict[str, Alert] = {}
        self._told: deque[Told] = deque(maxlen=REMEMBERED)
        self._lived: list[Told] = []  # before the last resume

    def come_to(self, step: int) -> None:
        """Training is at this step, or still before it."""
        if step > self._at:
            self._trained += step - self._at
            self._advances += 1
            self._at = step

    def go_back(self, step: int) -> None:
        """A new attempt begins at this step; what was told before it is as long ago as on a line without the detour."""
        detour = max(0, self._at - step)
        self._at = step
        self._lived = list(self._told)
        self._held = {kind: alert for kind, alert in self._held.items() if alert.step < step}
        for kind in self._last.keys() - {told.kind for told in self._lived if told.step >= step}:
            self._last[kind] += detour

    def pass_on(self, found: Sequence[Alert]) -> list[Alert]:
        """Those to tell now, of what was found at this step and of what was held back before."""
        if not found and not self._held:
            return []
        told = [alert for alert in found if not self._repeats(alert) and self._may_tell(alert)]
        told += [self._held.pop(kind) for kind in list(self._held) if self._rested(kind)]
        for alert in told:
            self._last[alert.kind] = self._trained
            self._told.append(Told(alert.kind, alert.onset_step, alert.step))
        return told

    def _may_tell(self, alert: Alert) -> bool:
        if self._rested(alert.kind):
            self._held.pop(alert.kind, None)
            return True
        if alert.kind in HELD_BACK:
            self._held[alert.kind] = alert
        return False

    def _rested(self, kind: str) -> bool:
        if kind not in self._last:
            return True
        stride = self._trained / max(1, self._advances)
        unit = stride if stride > LARGEST_STRIDE else 1
        return self._trained - self._last[kind] >= REST_STEPS * unit

    def _repeats(self, alert: Alert) -> bool:
        """What is no fault, and was told of the same steps; what goes wrong again is told again."""
        for told in self._lived:
            if (
                alert.severity == "info" and told.kind == alert.kind
                and alert.onset_step <= told.step and told.onset <= alert.step
            ):  # fmt: skip
                self._lived.remove(told)
                return True
        return False
