"""The exact numbers of negative, zero and positive eigenvalues, by a dense factorisation of a small operator."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..operators.operator import Operator

LARGEST = 1500
"""d products and d² numbers: at this size seconds, at ten times it hours."""

SIGN = 1e-6
"""Relative tolerance from which on the counts of a float32 Hessian equalled those of a float64 one."""


@dataclass(frozen=True, slots=True)
class Inertia:
    """The whole spectrum."""

    values: Tensor
    """(d,) ascending, float64, on the host."""
    asymmetry: float
    """Largest |H_ij - H_ji|."""

    def counts(self, tau: float = SIGN) -> tuple[int, int, int]:
        """How many eigenvalues are below -τ|H|, within ±τ|H| and above τ|H|."""
        bar = tau * float(self.values.abs().max())
        negative, positive = int((self.values < -bar).sum()), int((self.values > bar).sum())
        return negative, len(self.values) - negative - positive, positive


def inertia(operator: Operator, *, largest: int = LARGEST) -> Generator[None, None, Inertia]:
    """From ``dim`` products with unit vectors, one per ``next``. Raises ValueError for more dimensions than ``largest``."""
    dim = operator.dim
    if dim > largest:
        raise ValueError(f"an exact inertia takes {dim} products and is offered up to {largest}")
    columns = torch.empty(dim, dim, device=operator.device, dtype=operator.dtype)
    for index in range(dim):
        unit = torch.zeros(dim, device=operator.device, dtype=operator.dtype)
        unit[index] = 1
        columns[index] = operator.matvec(unit)
        yield
    return inertia_of(columns)


def inertia_of(matrix: Tensor) -> Inertia:
    """Of a symmetric matrix (d, d); its asymmetry is averaged away. Raises ValueError when a number is not finite."""
    dense = matrix.detach().to("cpu", torch.float64)
    if not bool(dense.isfinite().all()):
        raise ValueError("the matrix is not finite")
    asymmetry = float((dense - dense.T).abs().max())
    return Inertia(torch.linalg.eigvalsh((dense + dense.T) / 2), asymmetry)
