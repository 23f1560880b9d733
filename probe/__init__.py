"""The guest inside training: a face that costs microseconds, sensors within a budget, one thread that sends.

Training loops call it (``from lsmon.probe import Probe``); ``measure`` does one measurement on a checkpoint.
It never imports textual, rich or ``lsmon.tui``, and torch only once a model is given.
"""

from typing import TYPE_CHECKING, Any

from .probe import Probe
from .sensors.sensor import Context, Finding, Sensor

if TYPE_CHECKING:
    from .measurement import Measurement, measure

__all__ = ["Context", "Finding", "Measurement", "Probe", "Sensor", "measure"]


def __getattr__(name: str) -> Any:
    """``measure`` and ``Measurement`` load torch, so only when they are asked for."""
    if name in ("measure", "Measurement"):
        from . import measurement

        return getattr(measurement, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
