"""Both ends of a symmetric operator's spectrum from one Krylov space (Lanczos 1950; Parlett 1998, chapter 13).

Full reorthogonalisation, twice ("twice is enough", Kahan and Parlett): without it copies of converged eigenvalues
appear, and a count of negative Ritz values would no longer be a lower bound. The algorithm knows no model; any object
with ``matvec`` will do.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lsmon.protocol.frames import Ritz

from ..operators.operator import Operator

KEPT = 5
"""Values reported from each end."""

CONVERGED = 1e-2
"""Largest residual, relative to the value, that counts as converged: asked for 1e-1 the top five were 10 % off."""

CERTAIN = 1e-4
"""A Ritz value must be below this times |H| to count as negative (and below 20 times the noise of the products)."""

NOISE_FACTOR = 20.0

ROUNDING = 4.0
"""Residuals shrink below any bound in exact arithmetic; the values do not get better than a few roundings of |H|."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """What one Krylov space says of the two ends."""

    top: tuple[Ritz, ...]
    """The largest first."""
    bottom: tuple[Ritz, ...]
    """The most negative first."""
    negative_at_least: int
    """Eigenvalues below ``-tolerance``: at least so many (Cauchy interlacing)."""
    tolerance: float
    noise: float
    """Largest asymmetry of the products that was seen, absolute."""
    hvps: int


def lanczos(operator: Operator, steps: int = 32, seed: int = 0) -> Generator[None, None, Tensor]:
    """One product per ``next``; returns the coefficients α, β and the asymmetry, (products, 3), for ``extremes``.

    On a device nothing is read back meanwhile, so a start vector whose space is exhausted early is only noticed by
    ``extremes``; on the CPU the iteration stops there.
    """
    steps = min(steps, operator.dim)
    generator = torch.Generator(device=operator.device).manual_seed(seed)
    basis = torch.empty(steps, operator.dim, device=operator.device, dtype=operator.dtype)
    start = torch.randn(operator.dim, device=operator.device, dtype=operator.dtype, generator=generator)
    basis[0] = start / torch.linalg.vector_norm(start)
    rows = torch.zeros(steps, 3, device=operator.device, dtype=operator.dtype)
    tiny = torch.finfo(operator.dtype).tiny
    for j in range(steps):
        w = operator.matvec(basis[j])
        space = basis[: j + 1]  # (j+1, dim)
        overlap = space @ w  # its last two entries are α_j and, were H symmetric to the last bit, β_{j-1}
        w = w - overlap @ space
        again = space @ w
        w = w - again @ space
        beta = torch.linalg.vector_norm(w)
        rows[j, 0] = overlap[j] + again[j]
        rows[j, 1] = beta
        if j > 0:
            rows[j, 2] = (overlap[j - 1] - rows[j - 1, 1]).abs()
        yield
        if j + 1 == steps:
            break
        if operator.device.type == "cpu" and _exhausted(rows[: j + 1]) is not None:
            return rows[: j + 1]
        basis[j + 1] = w / beta.clamp_min(tiny)
    return rows


def _exhausted(rows: Tensor) -> int | None:
    """The first product after which the space was invariant (β at the rounding of |H|), if there is one."""
    alphas, betas = rows[:, 0].abs(), rows[:, 1]
    scale = torch.maximum(alphas.cummax(0).values, betas.cummax(0).values)
    over = (betas <= 100 * torch.finfo(rows.dtype).eps * scale).nonzero()
    return int(over[0]) if len(over) else None


def extremes(rows: Sequence[Sequence[float]] | Tensor, dtype: torch.dtype = torch.float32) -> Extremes:
    """Ritz values, residual bounds |β_m s_mi| plus rounding, and the certified count, from the coefficients of ``lanczos``.

    ``dtype`` is the precision of the products. Raises ValueError when a coefficient is not finite.
    """
    table = torch.as_tensor(rows, dtype=torch.float64).reshape(-1, 3)
    if not bool(table.isfinite().all()):
        raise ValueError("a Hessian-vector product was not finite")
    end = _exhausted(table.to(dtype))
    table = table if end is None else table[: end + 1]
    alphas, betas = table[:, 0], table[:, 1]
    matrix = torch.diag(alphas) + torch.diag(betas[:-1], 1) + torch.diag(betas[:-1], -1)
    values, vectors = torch.linalg.eigh(matrix)  # ascending
    size = float(values.abs().max())
    noise = float(table[:, 2].max())
    residuals = (betas[-1] * vectors[-1]).abs() + max(noise, ROUNDING * torch.finfo(dtype).eps * size)
    pairs = [
        Ritz(value=value, residual=residual, converged=residual <= CONVERGED * abs(value))
        for value, residual in zip(values.tolist(), residuals.tolist(), strict=True)
    ]
    tolerance = max(CERTAIN * size, NOISE_FACTOR * noise)
    return Extremes(
        top=tuple(reversed(pairs[-KEPT:])),
        bottom=tuple(pairs[:KEPT]),
        negative_at_least=sum(pair.value < -tolerance for pair in pairs),
        tolerance=tolerance,
        noise=noise,
        hvps=len(table),
    )
