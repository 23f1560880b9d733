"""When what only checks or completes the measurements is due: counted in complete ones, since it costs as they do."""

from __future__ import annotations

from ..cadence import COMPLETE, SPARSEST

HALVES_EVERY = 8
"""Complete measurements from one comparison of the reference batch's halves, or of the examples measured on with all,
to the next: it costs half of one."""

DENSITY_EVERY = 4
"""Complete measurements from one spectral density to the next."""

DENSITY_PRODUCTS = 512
"""Products that a density takes: 8 probes of 64."""


class Checks:
    """``completes`` is how many complete measurements are done."""

    def __init__(self) -> None:
        self.completes = 0
        self._next_halves = 1
        self._next_density = 1

    @property
    def halves_due(self) -> bool:
        return self.completes >= self._next_halves

    @property
    def density_due(self) -> bool:
        return self.completes >= self._next_density

    @property
    def compares_anew(self) -> bool:
        """Once in so many complete measurements: what was compared with all examples is old."""
        return self.completes % HALVES_EVERY == 0

    def began_halves(self) -> None:
        self._next_halves = self.completes + HALVES_EVERY

    def began_density(self) -> None:
        self._next_density = self.completes + DENSITY_EVERY


def has_room(cost: float, step_secs: float, allowance: float) -> bool:
    """For a spectral density whose products take ``cost`` seconds each: half of what is allowed from one to the next
    pays for it."""
    until = DENSITY_EVERY * COMPLETE * SPARSEST * step_secs
    return DENSITY_PRODUCTS * cost <= until * allowance / 2
