"""The upward bias of noise that is estimated from consecutive gradients: the weights move between the two."""

from __future__ import annotations

from typing import Any

from ..optimizers import kind, learning_rate

UNRELIABLE = 1.5
"""η λ_max above which the weights move too far between two gradients for their difference to be noise."""


def bias_words(optimizer: Any, sharpness: float | None) -> str:
    """How much too high it is at most, where λ_max is known; for Adam it would take that in its own metric."""
    if kind(optimizer) == "Adam" or sharpness is None:
        return "upward bias not known"
    a = max(learning_rate(g) for g in optimizer.param_groups) * max(0.0, sharpness)
    group = optimizer.param_groups[0]
    bound = bias_bound(a, group["momentum"], group["nesterov"])
    if a > UNRELIABLE:
        return f"unreliable: ηλ_max={a:.2g} is above {UNRELIABLE}"
    return "upward bias not known" if bound is None else f"at most {100 * (bound - 1):.2g} % too high"


def bias_bound(a: float, momentum: float = 0.0, nesterov: bool = False) -> float | None:
    """The factor by which the estimate is too high in a mode with a = η h; it grows with a. None where not known."""
    if nesterov or a >= 2 * (1 + momentum):
        return None
    return 1 + a + a * a / ((1 - momentum) * (2 * (1 + momentum) - a))
