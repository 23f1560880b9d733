"""Since when something has been so that an alert tells of."""

from __future__ import annotations

from collections.abc import Callable

from lsmon.protocol.counts import grouped
from lsmon.protocol.frames import Alert

from .format import clock


def since(alert: Alert, written: Callable[[int], str] = grouped) -> str:
    """``step 4 200``; of a stop, which is long in time and not in steps, by the clock. Empty: since the alert itself."""
    if alert.kind == "hang" and alert.wall:
        return clock(alert.wall - alert.evidence.get("seconds", 0.0))
    return f"step {written(alert.onset_step)}" if 0 < alert.onset_step < alert.step else ""
