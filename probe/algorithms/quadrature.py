"""What a few Gauss quadratures say of a whole spectrum: sums over it, shares of it, its density, each ± an error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .estimate import Estimate, estimate

RESOLVED = 0.3
"""A tolerance below this part of (λ_max - λ_min)/steps is not resolved: the node of the huge cluster at zero lands on
either side, an error of a factor of two that the probes have in common."""

ROUNDING = 1e-6
"""Relative tolerance down to which a complete quadrature in float32 tells signs."""

SHORTER = (0.68, 0.73, 0.78, 0.83, 0.88, 0.92, 0.97)
"""Parts of the steps whose quadratures, free by-products, show how far a number still depends on the steps. Seven:
with three the bias at a network's start was seen only when one of them happened to differ (11 of 30 covered, now 28)."""

Function = Callable[[Tensor], Tensor]


class Unresolved(ValueError):
    """A tolerance was asked for that the Lanczos steps cannot resolve."""


@dataclass(frozen=True, slots=True)
class Fractions:
    """Shares of all eigenvalues, between 0 and 1."""

    negative: Estimate
    """Below -τ|H|."""
    zero: Estimate
    """Within ±τ|H|."""
    tau: float


@dataclass(frozen=True)
class Density:
    """What the probes saw; every number below comes from the same probes."""

    dim: int
    steps: int
    """Lanczos steps of a probe."""
    projections: tuple[Tensor, ...]
    """For each probe the operator projected on its Krylov space, tridiagonal, float64."""
    complete: bool
    """Every probe's space became invariant: the quadratures are exact, whatever the steps."""
    hvps: int
    memory: int
    """Bytes of the basis."""

    @cached_property
    def quadratures(self) -> list[tuple[Tensor, Tensor]]:
        """Nodes, ascending, and weights, which sum to 1, for each probe."""
        return self._quadratures(1.0)

    @cached_property
    def _shorter(self) -> list[list[tuple[Tensor, Tensor]]]:
        return [self._quadratures(part) for part in SHORTER]

    def _quadratures(self, part: float) -> list[tuple[Tensor, Tensor]]:
        pairs = []
        for matrix in self.projections:
            steps = max(1, round(part * len(matrix)))
            nodes, vectors = torch.linalg.eigh(matrix[:steps, :steps])
            pairs.append((nodes, vectors[0].square()))
        return pairs

    def ends(self) -> tuple[float, float]:
        """Smallest and largest node: λ_min and λ_max once the steps are many."""
        nodes = [nodes for nodes, _ in self.quadratures]
        return min(float(each[0]) for each in nodes), max(float(each[-1]) for each in nodes)

    @property
    def resolution(self) -> float:
        """Smallest τ, relative to |H|, at which ``fractions`` can be believed."""
        low, high = self.ends()
        size = max(-low, high)
        if self.complete or size <= 0:
            return ROUNDING
        return max(ROUNDING, RESOLVED * (high - low) / (self.steps * size))

    def fractions(self, tau: float = 1e-2) -> Fractions:
        """Shares of negative and of zero eigenvalues. Raises Unresolved for a ``tau`` below ``resolution``."""
        if tau < self.resolution:
            raise Unresolved(
                f"{self.steps} Lanczos steps resolve no tolerance below {self.resolution:.1g}: "
                f"ask for a larger one than {tau:.1g} or for more steps"
            )
        low, high = self.ends()
        bar = tau * max(-low, high)
        return Fractions(
            negative=self._share(lambda nodes: nodes < -bar),
            zero=self._share(lambda nodes: nodes.abs() <= bar),
            tau=tau,
        )

    def trace(self) -> Estimate:
        """Σ λ."""
        return self.total(lambda nodes: nodes)

    def log_volume(self, delta: float) -> Estimate:
        """-½ Σ ln(1 + max(λ,0)/δ), nats, for an absolute curvature δ > 0; to ±20 % where half the spectrum is zero."""
        return self.total(lambda nodes: -0.5 * torch.log1p(nodes.clamp_min(0) / delta))

    def llc_quadratic(self, delta: float) -> Estimate:
        """½ Σ max(λ,0)/(max(λ,0)+δ), the slope of the log-volume in ln δ: half the effective number of parameters."""
        return self.total(lambda nodes: 0.5 * nodes.clamp_min(0) / (nodes.clamp_min(0) + delta))

    def total(self, function: Function) -> Estimate:
        """Σ f(λ) over all eigenvalues."""
        mean = _mean(function, self.quadratures)
        squares = _mean(lambda nodes: function(nodes).square(), self.quadratures).value
        largest = max(float(function(nodes).square().max()) for nodes, _ in self.quadratures)
        # As in _share: the variance of a Gaussian probe, 2(Σf² - (Σf)²/d) (Avron & Toledo 2011), with one eigenvalue more.
        spread = max(0.0, squares - mean.value**2) + largest / self.dim
        sampling = max(mean.se, math.sqrt(2 * spread / self.dim / len(self.projections)))
        drift = self._drift(function, mean.value)
        return Estimate(self.dim * mean.value, self.dim * math.hypot(sampling, drift))

    def grid(self, points: int = 101) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Curvatures, ascending and equidistant, and the share of the spectrum at each; the shares sum to 1.

        Every node is broadened to a Gaussian as wide as the distance between two nodes, which is all that is known.
        """
        low, high = self.ends()
        if high <= low or points < 2:
            return (low,), (1.0,)
        width = (high - low) / self.steps
        centres = torch.linspace(low, high, points, dtype=torch.float64)
        edges = (centres[1:] + centres[:-1]) / 2
        mass = torch.zeros(points, dtype=torch.float64)
        for nodes, weights in self.quadratures:
            below = torch.special.ndtr((edges[:, None] - nodes) / width) @ weights
            ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
            mass += torch.diff(torch.cat([ends[:1], below, ends[1:]]))
        return tuple(centres.tolist()), tuple((mass / len(self.projections)).tolist())

    def _drift(self, function: Function, value: float) -> float:
        """What fewer steps would have changed: the error of the quadrature, which the probes have in common."""
        if self.complete:
            return 0.0
        changes = [_mean(function, quadratures).value - value for quadratures in self._shorter]
        return math.sqrt(math.fsum(change**2 for change in changes) / len(changes))

    def _share(self, inside: Function) -> Estimate:
        """Share of the eigenvalues for which ``inside`` holds.

        The error between few probes is itself uncertain and is zero when none of them met a rare eigenvalue. The
        variance of a Gaussian probe, 2f(1-f)/(d+2), bounds that of either kind and stands in for it there. One
        eigenvalue may lie on either side of the tolerance.
        """
        mean = _mean(inside, self.quadratures)
        one = 1 / self.dim
        spread = (mean.value + one) * (1 - mean.value + one)
        sampling = max(mean.se, math.sqrt(2 * spread / (self.dim + 2) / len(self.projections)))
        return Estimate(mean.value, math.hypot(sampling, self._drift(inside, mean.value), one / 2))


def _mean(function: Function, quadratures: list[tuple[Tensor, Tensor]]) -> Estimate:
    """Mean of f over the spectrum, with the error between the probes."""
    return estimate([float(weights @ function(nodes).double()) for nodes, weights in quadratures])
