"""The guest inside training: a face that costs microseconds, sensors within a budget, one thread that sends.

Training loops call it (``from lsmon.probe import Probe``); ``measure`` does one measurement on a checkpoint, ``llc`` samples
around one.
It never imports textual, rich or ``lsmon.tui``, and torch only once a model is given.
"""

from typing import TYPE_CHECKING, Any

from .probe import Probe
from .sensors.sensor import Context, Finding, Sensor

if TYPE_CHECKING:
    from .coefficient import LearningCoefficient, llc
    from .measurement import Measurement, measure

__all__ = ["Context", "Finding", "LearningCoefficient", "Measurement", "Probe", "Sensor", "llc", "measure"]


def __getattr__(name: str) -> Any:
    """What loads torch is loaded only when it is asked for."""
    if name in ("measure", "Measurement"):
        from . import measurement

        return getattr(measurement, name)
    if name in ("llc", "LearningCoefficient"):
        from . import coefficient

        return getattr(coefficient, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
