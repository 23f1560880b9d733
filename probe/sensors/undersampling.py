"""Whether the examples that curvature is measured on are enough: E λ_max of few is above λ_max of many, by Jensen."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators.hessian import Hessian
from ..quotient import rayleigh_quotient
from ..reference import Reference
from ..survey import sharpest
from .known import Known, Work


def overshoot(
    known: Known, top: tuple[Tensor, Hessian, float], part: Reference, whole: Reference | None
) -> Work:
    """How far the sharpness of a part is above that of all examples, at most: λ_1 of all is at least vᵀHv of all, with v
    the part's own top eigenvector."""
    vector, point, value = top
    assert whole is not None
    unit = vector / torch.linalg.vector_norm(vector)
    few = f"{part.examples} of {whole.examples} examples"

    def bound(all_of_it: float, error: float) -> None:
        least = all_of_it - 2 * error
        known.level = min(1.0, max(0.0, least / value))
        known.excess = (
            f"{few}: λ_max at most {max(0.0, value / least - 1):.0%} too high"
            if least > 0
            else f"{few}: the level of λ_max is theirs alone"
        )

    found = yield from rayleigh_quotient(point, whole.chunks(part.examples), unit, bound)
    bound(*found)
    return []


def compare_halves(known: Known, seed: int, max_bytes: int) -> Work:
    """Whether the examples are too few for the level of the sharpness: halves of them then have a higher one."""
    parts, value = known.halves, known.sharpness
    known.halves = ()
    if value is None or value <= 0:
        return []
    total = 0.0
    for part in parts:
        total += (yield from sharpest(part, seed, max_bytes)).extremes.top[0].value
    known.undersampled = known.fresh = total / len(parts) / value - 1.0
    return []
