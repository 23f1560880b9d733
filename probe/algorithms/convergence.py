"""Whether chains of a sampler tell of one place, and whether they have arrived there."""

from __future__ import annotations

import math

from .estimate import estimate
from .langevin import STABLE

MIXED = 1.2
"""Split R̂ (Gelman et al. 2013, section 11.4) of the loss above which the chains tell of different places."""

DRIFTED = 2.0
"""Standard errors between the two halves of what is counted, above which the chains are still on their way."""


def doubt(value: float, counted: list[list[float]], mixing: float, stiffness: float) -> str:
    """What speaks against the number."""
    if not math.isfinite(value):
        return "a chain left the region where the loss is finite: a smaller lr is needed"
    half = len(counted[0]) // 2
    early = [math.fsum(trace[:half]) / half for trace in counted]
    late = [math.fsum(trace[half:]) / (len(trace) - half) for trace in counted]
    words = []
    if math.fsum(late) < 0:
        words.append(
            "the chains found a lower loss than at these parameters, which are therefore not a minimum"
        )
    drift = estimate([b - a for a, b in zip(early, late, strict=True)])
    if drift.se > 0 and abs(drift.value) > DRIFTED * drift.se:
        words.append(
            f"the loss still {'rises' if drift.value > 0 else 'falls'} in what is counted: more steps are needed"
        )
    if mixing > MIXED:
        words.append(f"the chains disagree (R̂ = {mixing:.2f}): more steps are needed")
    if stiffness > 2 * STABLE:
        words.append(
            f"η λ_max = {stiffness:.2g}, at which steps are too long for a loss that is not harmonic: a smaller lr is needed"
        )
    return "; ".join(words)


def split_rhat(counted: list[list[float]]) -> float:
    """Split R̂: every chain in two, variance between against within."""
    half = len(counted[0]) // 2
    parts = [part for trace in counted for part in (trace[:half], trace[-half:])]
    means = [math.fsum(part) / half for part in parts]
    within = math.fsum(
        math.fsum((x - m) ** 2 for x in part) / (half - 1) for part, m in zip(parts, means, strict=True)
    ) / len(parts)
    middle = math.fsum(means) / len(means)
    between = math.fsum((m - middle) ** 2 for m in means) / (len(means) - 1)
    return math.sqrt((half - 1) / half + between / within) if within > 0 else math.nan
