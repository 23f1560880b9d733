"""What chance alone would give, to hold a count of negative directions against.

No p-value is offered: the bulk of a trained network's Hessian is a spike at zero with heavy tails, and every null model
is rejected.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

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


def bulk_kurtosis(values: Tensor, outliers: int = OUTLIERS) -> float:
    """Kurtosis of all eigenvalues (d,) but the largest ``outliers``, to compare with the semicircle's 2.0.

    Raises ValueError when no two different values are left.
    """
    bulk = torch.sort(values.double()).values[: max(0, len(values) - outliers)]
    centred = bulk - bulk.mean() if len(bulk) else bulk
    variance = float(centred.square().mean()) if len(bulk) else 0.0
    if variance <= 0:
        raise ValueError("a kurtosis needs a bulk of different eigenvalues")
    return float(centred.pow(4).mean()) / variance**2
