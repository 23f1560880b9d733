"""Critical sharpness: the curvature along the update direction, from forward passes alone.

λ_c = 2/η_c, where η_c is the shortest step along the update at which the loss is no longer below where it started
(Kalra et al. 2026, A Scalable Measure of Loss Landscape Curvature). For a quadratic loss η_c = 2·gᵀu / uᵀHu, so
λ_c = uᵀHu / gᵀu, which for gradient descent (u = g) is the curvature along the gradient. For models for which not
even a gradient more fits in memory.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

from torch import Tensor, nn

from .difference import numbers
from .snapshot import Examples, LossFn, Snapshot

WIDEST = 2.0**20
"""Longest step tried, in units of the first one, and one over the shortest."""

GROWTH = 2.0
"""From the first step to the next one while η_c is not yet bracketed; doubled each time, since a first step that was
not nearly right may be off by orders of magnitude."""

TOLERANCE = 0.03
"""Width of the bracket of η_c, relative: far below what one update direction differs from the next."""

MOST_PASSES = 24


@dataclass(frozen=True)
class Critical:
    """Critical sharpness and its doubt."""

    value: float | None
    """λ_c = 2/η_c, of the units of 1/η; None when the loss never rises, or never falls, along the update."""
    low: float
    high: float
    """λ_c lies between these."""
    passes: int
    """Forward passes spent."""
    loss: float
    words: str = ""
    """Why there is no value; empty when there is one."""

    @property
    def step(self) -> float | None:
        """η_c, where to begin the next time."""
        return None if self.value is None else 2.0 / self.value


class Along:
    """The loss along a line through the parameters that the model has now."""

    def __init__(self, model: nn.Module, loss_fn: LossFn, reference: Examples) -> None:
        self.snapshot = Snapshot(model, loss_fn, reference)
        self.dim, self.device, self.dtype = self.snapshot.dim, self.snapshot.device, self.snapshot.dtype

    def loss(self, update: Tensor | None = None, step: float = 0.0) -> Tensor:
        """L(θ - step · update), shape (), by one forward pass."""
        parameters = self.snapshot.parameters if update is None else self.snapshot.moved(update, -step)
        return self.snapshot.loss(parameters)

    def critical(self, update: Tensor, first: float) -> Generator[None, None, Critical]:
        """λ_c along ``update`` of shape (dim,), the step being θ ← θ - η·update; one forward pass between two yields.

        ``first`` is the step to begin with: η_c of the last time, or the learning rate. 5 to 7 passes when it is right
        within a factor of two. Raises ValueError when it is not positive or the loss is not finite.
        """
        if not first > 0:
            raise ValueError("the first step along the update must be positive")
        (start,) = yield from numbers(self.loss())
        if not math.isfinite(start):
            raise ValueError("the loss on the reference batch is not finite")
        passes = 1
        # The mean slope (L(η) - L(0))/η is linear in η for a quadratic, so that the secant through two points is exact.
        falls: tuple[float, float] | None = None
        rises: tuple[float, float] | None = None
        step, growth = first, GROWTH
        while passes < MOST_PASSES:
            (value,) = yield from numbers(self.loss(update, step))
            passes += 1
            slope = (value - start) / step if math.isfinite(value) else math.inf
            if slope < 0:
                falls = (step, slope)
            else:
                rises = (step, slope)
            if falls and rises and rises[0] - falls[0] <= TOLERANCE * rises[0]:
                break
            if falls is None or rises is None:
                step = step / growth if falls is None else step * growth
                growth *= GROWTH
            else:
                step = _between(falls, rises)
            if not first / WIDEST <= step <= first * WIDEST:
                break
            yield
        if falls is None:
            return Critical(None, 0.0, math.inf, passes, start, "the loss does not fall along the update")
        if rises is None:
            words = f"the loss still falls at {falls[0]:.2g} times the update"
            return Critical(None, 0.0, 2.0 / falls[0], passes, start, words)
        return Critical(2.0 / _root(falls, rises), 2.0 / rises[0], 2.0 / falls[0], passes, start)


def _root(falls: tuple[float, float], rises: tuple[float, float]) -> float:
    """Where the line through both crosses zero; the middle, in logarithm, when one is infinite."""
    (near, below), (far, above) = falls, rises
    if not math.isfinite(above):
        return math.sqrt(near * far)
    return near + (far - near) * below / (below - above)


def _between(falls: tuple[float, float], rises: tuple[float, float]) -> float:
    """Next step to try: just beside the secant's root, on the side of the farther end, so that the bracket closes."""
    root = _root(falls, rises)
    margin = 0.4 * TOLERANCE * root
    aim = root - margin if root - falls[0] > rises[0] - root else root + margin
    return min(max(aim, falls[0] + 0.05 * (rises[0] - falls[0])), rises[0] - 0.05 * (rises[0] - falls[0]))
