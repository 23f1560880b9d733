"""A mean over few random probes, with an error that is honest about how few they were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % points of Student's t for 1 to 9 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """``value`` ± ``se``: the truth lies within two ``se`` in 95 of 100 repetitions."""

    value: float
    se: float


def estimate(samples: Sequence[float]) -> Estimate:
    """The mean, and half of its 95 % interval by Student's t; with one sample the error is infinite."""
    n = len(samples)
    mean = math.fsum(samples) / n
    if n < 2:
        return Estimate(mean, math.inf)
    variance = math.fsum((sample - mean) ** 2 for sample in samples) / (n - 1)
    return Estimate(mean, wider(n) * math.sqrt(variance / n))


def wider(n: int) -> float:
    """By how much Student's t widens the error of a mean of ``n`` samples, so that two of it are 95 % of the interval."""
    if n < 2:
        return math.inf
    free = n - 1
    # behind the table an expansion in 1/ν, right to 1e-3
    quantile = STUDENT[free - 1] if free <= len(STUDENT) else 1.96 + 2.4 / free + 3 / free**2
    return quantile / 2
