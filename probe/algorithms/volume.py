"""Volumes of valleys and how they change: from quadratures of common probes, and from a spectrum that is known.

The volume where L - L_min ≤ ε with L = ½ Σ λ x² is an ellipsoid's, V = (2πε)^(r/2) / (Γ(r/2 + 1) ∏ √λ_i) over the r
directions that are curved; of two valleys with the same r the sharp one is smaller by V₁/V₂ = ∏ √(λ₂ᵢ/λ₁ᵢ). Its use ends
where r differs, so that what is followed through a run is the damped log-volume -½ Σ ln(1 + max(λ,0)/δ).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .estimate import Estimate, estimate
from .quadrature import SHORTER, Density

Function = Callable[[Tensor], Tensor]


def damped(delta: float) -> Function:
    """-½ ln(1 + max(λ,0)/δ), whose sum over the spectrum is the damped log-volume in nats."""
    return lambda values: -0.5 * torch.log1p(values.clamp_min(0) / delta)


def by_probe(density: Density, function: Function, part: float = 1.0) -> list[float]:
    """Σ f(λ) as each probe sees it, with this part of its Lanczos steps."""
    totals = []
    for matrix in density.projections:
        steps = max(1, round(part * len(matrix)))
        nodes, vectors = torch.linalg.eigh(matrix[:steps, :steps])
        totals.append(density.dim * float(vectors[0].square() @ function(nodes).double()))
    return totals


def shorter(density: Density, function: Function) -> tuple[float, ...]:
    """Σ f(λ) with fewer Lanczos steps: how far it moves is the error that the probes have in common."""
    if density.complete:
        return ()
    return tuple(math.fsum(each := by_probe(density, function, part)) / len(each) for part in SHORTER)


def change(before: Density, after: Density, function: Function) -> Estimate:
    """Σ f(λ) after minus before. With the same probes most of the error is common to both and is not counted.

    Raises ValueError when the two are not of the same probes of the same space.
    """
    if before.dim != after.dim or len(before.projections) != len(after.projections):
        raise ValueError("a difference takes two measurements by the same probes of the same parameters")

    def differences(part: float) -> list[float]:
        pairs = zip(by_probe(before, function, part), by_probe(after, function, part), strict=True)
        return [b - a for a, b in pairs]

    whole = estimate(differences(1.0))
    if before.complete and after.complete:
        return whole
    # What fewer steps would have changed: the error that the probes have in common.
    drifts = [math.fsum(short := differences(part)) / len(short) - whole.value for part in SHORTER]
    drift = math.sqrt(math.fsum(each**2 for each in drifts) / len(drifts))
    return Estimate(whole.value, math.hypot(whole.se, drift))


class Ellipsoid(NamedTuple):
    """The volume of the resolved directions."""

    log_volume: float
    """Nats, in the unit of the parameters to the power ``directions``."""
    directions: float
    """r; two volumes compare only where it is the same."""
    se: float = 0.0
    """Half of the 95 % interval of ``log_volume``; much of it is that of r."""


def ellipsoid(curvatures: Tensor, epsilon: float, tau: float = 1e-2) -> Ellipsoid:
    """From all eigenvalues, (d,): the volume within ``epsilon`` of the minimum in the directions above τ|H|.

    Raises ValueError when no direction is, or ``epsilon`` is not positive.
    """
    values = curvatures.double()
    resolved = values[values > tau * values.abs().max()]
    return _ellipsoid(float(torch.log(resolved).sum()), len(resolved), epsilon)


def estimated_ellipsoid(density: Density, epsilon: float, tau: float = 1e-2) -> Ellipsoid:
    """The same from quadratures, with an r that need not be whole, and the error of the jackknife over the probes and of
    fewer Lanczos steps. Raises ValueError as ``ellipsoid`` does."""
    low, high = density.ends()
    bar = tau * max(-low, high)

    def log_of_resolved(nodes: Tensor) -> Tensor:
        return torch.where(nodes > bar, torch.log(nodes.clamp_min(bar)), torch.zeros_like(nodes))

    def resolved(nodes: Tensor) -> Tensor:
        return (nodes > bar).double()

    def body(part: float, without: int | None = None) -> Ellipsoid:
        counts, logarithms = by_probe(density, resolved, part), by_probe(density, log_of_resolved, part)
        if without is not None:
            del counts[without], logarithms[without]
        return _ellipsoid(math.fsum(logarithms) / len(logarithms), math.fsum(counts) / len(counts), epsilon)

    whole, probes = body(1.0), len(density.projections)
    if probes < 2:
        return whole._replace(se=math.inf)
    jackknife = [
        probes * whole.log_volume - (probes - 1) * body(1.0, place).log_volume for place in range(probes)
    ]
    drifts = [] if density.complete else [body(part).log_volume - whole.log_volume for part in SHORTER]
    drift = math.sqrt(math.fsum(each**2 for each in drifts) / len(drifts)) if drifts else 0.0
    slope = math.log(2 * math.pi * epsilon) - float(torch.digamma(torch.tensor(whole.directions / 2 + 1)))

    def weight(nodes: Tensor) -> Tensor:
        """What one direction adds to the log-volume."""
        return resolved(nodes) * (slope - log_of_resolved(nodes)) / 2

    first, second = (math.fsum(by_probe(density, f)) for f in (weight, lambda nodes: weight(nodes).square()))
    # Few probes may agree by chance; the variance of a Gaussian one bounds that of either kind (Avron & Toledo 2011).
    bound = math.sqrt(2 * max(0.0, second - first**2 / probes / density.dim)) / probes
    logarithms = math.fsum(by_probe(density, log_of_resolved)) / probes
    edge = _at_the_bar(density, bar, whole.directions, logarithms, epsilon)
    return whole._replace(se=math.hypot(max(estimate(jackknife).se, bound), drift, edge))


def _at_the_bar(density: Density, bar: float, directions: float, logarithms: float, epsilon: float) -> float:
    """Standard error from what quadratures cannot tell: on which side of ``bar`` the directions near it lie.

    Of the mass below a point between two nodes they say no more than that it is the weights below it, less that of the
    node beneath at most and more that of the node above at most (Chebyshev, Markov and Stieltjes; Szegő, Orthogonal
    Polynomials, theorem 3.41.1). All between are as likely as one another, and one direction more or less always is. The
    nodes of complete ones are eigenvalues, of which it is known.
    """
    beneath = above = 0.0
    for nodes, weights in () if density.complete else density.quadratures:
        place = int((nodes <= bar).sum())
        beneath += float(weights[place - 1]) if place else 0.0
        above += float(weights[place]) if place < len(nodes) else 0.0
    share = density.dim / len(density.quadratures)
    more, fewer = max(0.5, share * beneath), min(max(0.5, share * above), 0.9 * directions)
    ends = [
        _ellipsoid(logarithms + change * math.log(bar), directions + change, epsilon).log_volume
        for change in (more, -fewer)
    ]
    return abs(ends[0] - ends[1]) / math.sqrt(12)


def _ellipsoid(logarithms: float, directions: float, epsilon: float) -> Ellipsoid:
    if not directions > 0 or not epsilon > 0:
        raise ValueError("there is no direction that is curved upwards, or no positive height to fill")
    half = directions / 2
    return Ellipsoid(
        half * math.log(2 * math.pi * epsilon) - math.lgamma(half + 1) - logarithms / 2, directions
    )
