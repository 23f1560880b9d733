"""Langevin dynamics in the potential L + γT/2 |θ - θ*|² around a point, and the step size that it bears."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..operators.snapshot import Snapshot
from .lanczos import lanczos

STABLE = 0.1
"""Largest η λ_max. Plain Langevin steps make a mode of curvature h hotter by a factor of 1/(1 - ηh/2), which is 5 % here and
was not in the error; with the mean of two neighbouring noises every harmonic mode has its temperature exactly, at any
stable η (Leimkuhler & Matthews 2013, doi:10.1093/amrx/abs010), and what remains is of second order."""

PILOT = 0.2
"""Length of the chain that tells how curved the loss is where chains go, over that of the others."""

PRODUCTS, NEAR = 24, 1e-3
"""For the sharpness that the step size is made from: Lanczos products, and the step of the differences over |θ|."""

GROWTH = 40
"""Doublings of a displacement until it is as high as a thermal one; a loss that never rises has no scale."""


def chain(
    point: Snapshot, heat: float, gamma: float, rate: float, steps: int, generator: torch.Generator
) -> tuple[list[float], Tensor]:
    """The loss at every step of one chain that starts at θ*, and where it ends; early when it is not finite."""
    away = torch.zeros(point.dim, device=point.device, dtype=point.dtype)
    kick = math.sqrt(2 * rate * heat) / 2

    def draw() -> Tensor:
        return torch.randn(point.dim, device=point.device, dtype=point.dtype, generator=generator)

    losses: list[float] = []
    noise = draw()
    for _ in range(steps):
        gradient, loss = point.gradient(point.moved(away, 1.0))
        losses.append(float(loss))
        if not math.isfinite(losses[-1]):
            return losses + [losses[-1]] * (steps - len(losses)), away
        before, noise = noise, draw()
        away = away - rate * (gradient + gamma * heat * away) + kick * (before + noise)
    return losses, away


def safe_sharpness(
    point: Snapshot, start: float, heat: float, gamma: float, steps: int, generator: torch.Generator
) -> float:
    """λ_max at θ* or where a short chain goes, whichever is larger: a singular minimum may have no curvature of its own.

    That chain's step is made from the curvature where the loss is higher by d T/2 in a random direction, which is more
    than the chain will meet.
    """
    direction = torch.randn(point.dim, device=point.device, dtype=point.dtype, generator=generator)
    direction /= torch.linalg.vector_norm(direction)
    reach, rise = 1e-3 * max(float(point.norm()), 1e-3), 0.5 * point.dim * heat
    for _ in range(GROWTH):
        if not float(point.loss(point.moved(direction, reach))) - start < rise:
            break
        reach *= 2
    here = torch.zeros_like(direction)
    at_home, at_most = _top(_Displaced(point, here, reach)), _top(_Displaced(point, reach * direction, reach))
    if not max(at_home, at_most) > 0:
        return 0.0
    _, end = chain(
        point, heat, gamma, STABLE / max(at_home, at_most), max(1, round(PILOT * steps)), generator
    )
    return max(at_home, _top(_Displaced(point, end, reach)))


def _top(operator: _Displaced) -> float:
    """λ_max, 0 where it is not positive or not finite."""
    work = lanczos(operator, top=1, bottom=0, max_products=PRODUCTS)
    try:
        while True:
            next(work)
    except StopIteration as done:
        return max(0.0, float(done.value.extremes.top[0].value))
    except ValueError:
        return 0.0


class _Displaced:
    """∇²L somewhere else than at the snapshot, by differences of gradients: a few percent are enough here."""

    def __init__(self, point: Snapshot, centre: Tensor, reach: float) -> None:
        self.dim, self.device, self.dtype = point.dim, point.device, point.dtype
        self._point, self._centre = point, centre
        self._step = NEAR * max(float(point.norm()), reach)

    def matvec(self, vector: Tensor) -> Tensor:
        step = self._step / float(torch.linalg.vector_norm(vector))
        ahead, _ = self._point.gradient(self._point.moved(self._centre + step * vector, 1.0))
        behind, _ = self._point.gradient(self._point.moved(self._centre - step * vector, 1.0))
        product: Tensor = (ahead - behind) / (2 * step)
        return product
