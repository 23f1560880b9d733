"""R of the equilibrium gauge from the latest estimates: by |∇L|² or by the balance of energy, whichever is better known."""

from __future__ import annotations

import math
from typing import NamedTuple

from lsmon.protocol.gauge import INSUFFICIENT, label

from ..algorithms.estimate import Estimate
from .energy import Energy
from .window import Window

SHORTEST = 200
"""With fewer R has no meaning; doubled until the interval allows a label, so that what is told is recent."""

DESCENT, HEAT, TRACE, PLAIN_TRACE, GRADIENT, SHRINKING, STRANGENESS, STEP = range(8)
"""Places in the window's rows: the seven of ``balance``'s kind, and the step at which they were taken."""


class Gauge(NamedTuple):
    label: str
    ratio: Estimate
    way: str
    """By what, in words."""
    estimates: int
    """How many it is of."""


def read_gauge(window: Window, energy: Energy, memory: float) -> Gauge | None:
    """Of the latest stretch whose interval allows a label; else of all, and "insufficient". None where the curvature along
    the noise is not positive. ``memory``: steps over which the optimizer remembers gradients."""
    count, last = len(window), SHORTEST
    while True:
        found = _ratio(window, energy, memory, min(last, count))
        said = INSUFFICIENT if found is None else label(found[0].value, found[0].se)
        if said != INSUFFICIENT or last >= count:
            return None if found is None else Gauge(said, *found, min(last, count))
        last *= 2


def _ratio(window: Window, energy: Energy, memory: float, last: int) -> tuple[Estimate, str] | None:
    by_gradients = window.ratio(DESCENT, HEAT, last)
    if by_gradients is None:
        return None
    rate = energy.rate(int(window.rows(last)[0][STEP]), memory)
    if rate is None:
        return by_gradients, "by |∇L|²"
    heat, shrinking = window.mean(HEAT, last), window.mean(SHRINKING, last)
    # Decoupled weight decay moves the loss too, and is neither of the two that are compared.
    gained = Estimate(rate.value + shrinking.value, math.hypot(rate.se, shrinking.se))
    relative = gained.value / heat.value
    error = math.hypot(gained.se, relative * heat.se) / heat.value
    by_energy = Estimate(1 - relative, error)
    return (by_energy, "by energy") if error < by_gradients.se else (by_gradients, "by |∇L|²")
