"""The guest inside training: a face that costs microseconds, sensors within a budget, one thread that sends.

Training loops call it (``from lsmon.probe import Probe``).
It never imports textual, rich or ``lsmon.tui``, and torch only once a model is given.
"""

from .probe import Probe
from .sensors.sensor import Context, Finding, Sensor

__all__ = ["Context", "Finding", "Probe", "Sensor"]
