"""The whole spectrum from a few random probes: stochastic Lanczos quadrature (Ubaru, Chen and Saad 2017).

Each probe's Krylov space gives a Gauss quadrature of the spectrum, with as many nodes as products. The probes come
from a seed and are the same at every checkpoint, so that most of their error cancels in differences.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from ..operators.operator import Operator
from ..readings import Reading, read
from .basis import norm, orthogonalise
from .krylov import EXHAUSTED
from .probes import Kind
from .probes import probes as draw
from .quadrature import Density

PROBES = 8
"""Fewest for which an error between probes means something."""

STEPS = 64
"""32 do not resolve a hundredth of |H|."""


def slq(
    operator: Operator,
    *,
    probes: int = PROBES,
    steps: int = STEPS,
    seed: int = 0,
    kind: Kind = "rademacher",
    max_bytes: int = 1 << 30,
) -> Generator[None, None, Density]:
    """One product per ``next``, ``probes × steps`` in all; fewer where a probe's space is exhausted (on a CPU).

    When ``max_bytes`` has no room for a probe's basis, only its last vectors are kept orthogonal: copies of converged
    nodes appear, whose weights still sum to the right one (Greenbaum 1989). Raises ValueError for a product that is
    not finite, and for a ``max_bytes`` that cannot hold three vectors.
    """
    steps = min(steps, operator.dim)
    size = torch.finfo(operator.dtype).bits // 8 * operator.dim
    rows = min(steps, max_bytes // size)
    if rows < min(3, steps):
        raise ValueError(f"max_bytes holds {rows} vectors of the operator, and at least 3 are needed")
    basis = torch.empty(rows, operator.dim, device=operator.device, dtype=operator.dtype)
    readings: list[Reading] = []
    hvps = 0
    for start in draw(operator, probes, seed, kind):
        basis[0] = start / norm(start)
        coefficients: list[Tensor] = []
        scale = 0.0
        for j in range(steps):
            near = max(0, j - 1) if j < rows else 0
            rest, overlap = orthogonalise(operator.matvec(basis[j % rows]), basis[: j + 1], near)
            beta = norm(rest)
            pair = torch.stack([overlap[j % rows], beta])
            coefficients.append(pair)
            hvps += 1
            if operator.device.type == "cpu":  # elsewhere to look would be to wait
                scale = max(scale, float(pair.abs().max()))
                if float(beta) <= EXHAUSTED * torch.finfo(operator.dtype).eps * scale:
                    break
            if j + 1 < steps:
                basis[(j + 1) % rows] = rest / beta.clamp_min(torch.finfo(rest.dtype).tiny)
                yield
        readings.append(read(torch.cat(coefficients)))
        yield
    while not all(reading.ready() for reading in readings):
        yield
    found = [_projection(reading.values(), operator.dtype) for reading in readings]
    return Density(
        dim=operator.dim,
        steps=steps,
        projections=tuple(matrix for matrix, _ in found),
        complete=all(ended for _, ended in found),
        hvps=hvps,
        memory=rows * size,
    )


def _projection(numbers: Sequence[float], dtype: torch.dtype) -> tuple[Tensor, bool]:
    """The tridiagonal matrix from α₁, β₁, α₂, β₂, …, and whether its space is invariant: it then ends where it is."""
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a product with the operator was not finite")
    alphas, betas = numbers[::2], numbers[1::2]
    scale, last, ended = 0.0, len(alphas), False
    for j, (alpha, beta) in enumerate(zip(alphas, betas, strict=True)):
        scale = max(scale, abs(alpha), beta)
        if beta <= EXHAUSTED * torch.finfo(dtype).eps * scale:
            last, ended = j + 1, True
            break
    diagonal = torch.tensor(alphas[:last], dtype=torch.float64)
    beside = torch.tensor(betas[: last - 1], dtype=torch.float64)
    return torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1), ended
