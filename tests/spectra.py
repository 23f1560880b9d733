"""Operators whose eigenvalues are known: a diagonal, seen in a basis turned by one reflection, so that a product costs
O(d)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class Known:
    """QDQ with Q = 1 - 2uuᵀ; counts its products."""

    def __init__(
        self, values: Sequence[float] | Tensor, dtype: torch.dtype = torch.float64, seed: int = 1
    ) -> None:
        self.values = torch.sort(torch.as_tensor(values, dtype=torch.float64)).values
        generator = torch.Generator().manual_seed(seed)
        normal = torch.randn(len(self.values), dtype=torch.float64, generator=generator)
        self._normal = (normal / normal.norm()).to(dtype)
        self._diagonal = self.values.to(dtype)
        self.products = 0

    @property
    def dim(self) -> int:
        return len(self.values)

    @property
    def device(self) -> torch.device:
        return self._diagonal.device

    @property
    def dtype(self) -> torch.dtype:
        return self._diagonal.dtype

    def matvec(self, vector: Tensor) -> Tensor:
        self.products += 1
        return self._turn(self._diagonal * self._turn(vector))

    def eigenvector(self, place: int) -> Tensor:
        unit = torch.zeros_like(self._diagonal)
        unit[place] = 1
        return self._turn(unit)

    def matrix(self) -> Tensor:
        return torch.stack([self.matvec(unit) for unit in torch.eye(self.dim, dtype=self.dtype)])

    def _turn(self, vector: Tensor) -> Tensor:
        turned: Tensor = vector - 2 * (self._normal @ vector) * self._normal
        return turned


def finish(work: Generator[None, None, Result]) -> Result:
    """Run to the end at once."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: Result = done.value
            return result


def spread(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * i / (count - 1) for i in range(count)]


def network(dim: int = 5000, seed: int = 0) -> list[float]:
    """Like a trained network's Hessian: a spike at zero, a few large values, and λ_min 0.05 λ_max in a cluster."""
    generator = torch.Generator().manual_seed(seed)
    spike = torch.randn(dim - 90, dtype=torch.float64, generator=generator) * 2e-3
    top = [10.0, 6.0, 5.3, 4.2, 3.1, *(2.5 * 0.92**i for i in range(45))]
    bottom = [-0.5 * 0.93**i for i in range(40)]
    return [*spike.tolist(), *top, *bottom]


SPECTRA = {
    "negative end larger": [-5.0, *spread(-0.5, 0.5, 4997), 2.0, 3.0],
    "clustered": [10.0 + 1e-9 * i for i in range(5)] + [1.0] * 400 + [-2.0] * 5,
    "nine in ten are zero": [0.0] * 900 + spread(-3.0, -0.1, 20) + spread(0.1, 7.0, 79) + [8.0],
    "indefinite": spread(-4.0, 4.0, 300),
    "rank one": [7.0] + [0.0] * 4999,
    "rank one, negative": [-7.0] + [0.0] * 499,
    "positive definite": [10.0 * 0.9**i for i in range(200)],
    "negative definite": spread(-9.0, -1.0, 60),
    "like a network": network(),
    "one dimension": [-2.5],
    "two dimensions": [1.0, -1.0],
}
