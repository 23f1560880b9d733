"""What chance alone would give, to hold a spectrum and its count of negative directions against.

No p-value is offered: the bulk of a trained network's Hessian is a spike at zero with heavy tails, and every null model
is rejected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

REPULSION = math.log10(3) / 4
"""Dean and Majumdar 2006: P(all eigenvalues > 0) ≈ 3^(-d²/4) for a centred random symmetric matrix, 0.1193 d² in
log10."""

OUTLIERS = 20
"""Largest eigenvalues that are not bulk: the classes' and their neighbours'."""

SEMICIRCLE_KURTOSIS = 2.0
"""Fourth moment over squared variance of Wigner's semicircle."""


def log10_minimum_by_signs(negative_fraction: float, dim: int) -> float:
    """log10 P(no negative direction) if every one of ``dim`` signs were drawn by itself: d·log10(1-α)."""
    if not 0 <= negative_fraction <= 1:
        raise ValueError(f"a fraction lies between 0 and 1, and {negative_fraction:g} does not")
    return dim * math.log10(1 - negative_fraction) if negative_fraction < 1 else -math.inf


def log10_minimum_by_repulsion(dim: int) -> float:
    """log10 P(no negative direction) under a centred random symmetric matrix, whose eigenvalues repel one another."""
    return -REPULSION * dim * dim


class Semicircle(NamedTuple):
    """Wigner 1955: the density √(R² - (λ - c)²) · 2 / πR² of the eigenvalues of a large random symmetric matrix."""

    centre: float
    radius: float
    """Twice the standard deviation of the bulk that it is drawn against."""
    kurtosis: float
    """That of the bulk, to compare with ``SEMICIRCLE_KURTOSIS``."""

    def below(self, curvature: float) -> float:
        """Share of the eigenvalues below this curvature."""
        x = min(max((curvature - self.centre) / self.radius, -1.0), 1.0)
        return 0.5 + (x * math.sqrt(1 - x * x) + math.asin(x)) / math.pi


def semicircle(grid: Sequence[float], mass: Sequence[float], parameters: int) -> Semicircle | None:
    """The one with mean and variance of a density's bulk: all but its largest ``OUTLIERS`` of so many eigenvalues.

    None for a density that has no bulk of different, finite curvatures.
    """
    pairs = [(x, m) for x, m in zip(grid, mass, strict=False) if math.isfinite(x) and 0 < m < math.inf]
    apart = OUTLIERS / parameters * math.fsum(m for _, m in pairs) if parameters > OUTLIERS else 0.0
    bulk = []
    for x, m in sorted(pairs, reverse=True):
        taken = min(apart, m)
        apart -= taken
        if m > taken:
            bulk.append((x, m - taken))
    total = math.fsum(m for _, m in bulk)
    if not total:
        return None
    size = max(abs(x) for x, _ in bulk) or 1.0  # squares and fourth powers of scaled values cannot overflow
    centre = math.fsum(x / size * m for x, m in bulk) / total
    second, fourth = (
        math.fsum((x / size - centre) ** power * m for x, m in bulk) / total for power in (2, 4)
    )
    if not second > 1e-12:
        return None
    return Semicircle(centre * size, 2 * math.sqrt(second) * size, fourth / second**2)
