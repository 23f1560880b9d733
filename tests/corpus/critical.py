"""Whether what a trajectory left was a saddle: the critical point it came past, found by Newton's method in float64.

From the slowest point before an event |∇L| is brought down by damped Newton steps (so Dauphin et al. 2014,
arXiv:1406.2572, find the critical points of networks). The point that is found has the last word: the event was an
escape from a saddle when the point has a direction of negative curvature, by the dense spectrum or by scipy's, and
lies at the height from which the loss fell. Nothing here is shared with the detectors or with the probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg, eigsh  # type: ignore[import-untyped]
from torch import Tensor
from torch.overrides import TorchFunctionMode

DENSE = 400
"""Parameters up to which the Hessian is a matrix here; above it there are only its products."""

ITERATIONS, BY_PRODUCTS, STALLED = 80, 12, 8
"""Newton steps with a matrix and without one, and of how many the last together must gain a tenth: flat valleys bend,
and noise leads nowhere."""

ENOUGH = 0.01
"""|∇L| at the point over |∇L| at the start: a critical point as far as the trajectory can tell."""

CRITICAL = 0.05
"""The same, where the steps have come to an end: what is left is the slope of a valley that bends away to infinity."""

NEGATIVE = -1e-3
"""λ_min over |H|, below which it is no rounding."""

HEIGHT = 0.5
"""Part of the fall by which the loss at the start may lie away from that of the point."""


KINK = 0.03
"""Part of the spread of its inputs over which the kink of a ReLU is rounded off, where Newton's steps get caught in
kinks: thousands of them lie within one step, and between them no gradient vanishes."""


@dataclass(frozen=True)
class Saddle:
    """A critical point with a way down."""

    height: float
    """Its loss."""
    gradient: float
    """|∇L| there over |∇L| at the point of the trajectory that it was sought from."""
    lowest: float
    """λ_min over |H|."""
    index: int
    """Directions of negative curvature; with more than 400 parameters only whether there is one."""


def saddle_before(
    loss: Callable[[Tensor, Any], Tensor], data: Any, start: Tensor, *, after: float
) -> Saddle | None:
    """The saddle near ``start``, the slowest point before an event; ``after`` is the loss when it was over.

    None when no critical point is found, when it is a minimum, or when it does not lie where the loss fell from.
    """
    landscape, start = Landscape(loss, doubled(data)), start.detach().double()
    before = landscape.value(start)
    for part in (0.0, KINK):
        with Rounded(part) as kinks:
            theta, gradient = landscape.critical(start.clone())
            height = landscape.value(theta)
            if gradient > CRITICAL and kinks.met:
                continue
            if gradient > CRITICAL or height <= after or abs(height - before) > HEIGHT * (before - after):
                return None
            lowest, index = landscape.lowest(theta)
            return Saddle(height, gradient, lowest, index) if lowest < NEGATIVE else None
    return None


class Rounded(TorchFunctionMode):
    """Within it each ReLU is ½(x + √(x² + w²)), w a part of the root mean square of its inputs."""

    def __init__(self, part: float) -> None:
        super().__init__()
        self._part = part
        self.met = False
        """Whether there was one."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.relu:
            return func(*args, **(kwargs or {}))
        self.met = True
        if not self._part:
            return func(*args)
        x = args[0]
        width = self._part * x.detach().square().mean().sqrt()
        return (x + (x.square() + width.square()).sqrt()) / 2


class Landscape:
    """A loss over flat parameters in float64, with its gradient, its Hessian and Newton's steps towards ∇L = 0."""

    def __init__(self, loss: Callable[[Tensor, Any], Tensor], data: Any) -> None:
        self._loss, self._data = loss, data

    def value(self, theta: Tensor) -> float:
        with torch.no_grad():
            return float(self._loss(theta, self._data))

    def gradient(self, theta: Tensor) -> Tensor:
        theta = theta.clone().requires_grad_()
        return torch.autograd.grad(self._loss(theta, self._data), theta)[0]

    def matrix(self, theta: Tensor) -> Tensor:
        """(d, d)."""
        hessian: Tensor = torch.autograd.functional.hessian(lambda flat: self._loss(flat, self._data), theta)  # type: ignore[no-untyped-call]
        return (hessian + hessian.T) / 2

    def products(self, theta: Tensor) -> Callable[[Any], Any]:
        """v → H v, on arrays."""
        theta = theta.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self._loss(theta, self._data), theta, create_graph=True)

        def product(vector: Any) -> Any:
            v = torch.from_numpy(np.ascontiguousarray(vector).reshape(-1))
            return torch.autograd.grad(gradient, theta, v, retain_graph=True)[0].numpy()

        return product

    def critical(self, theta: Tensor) -> tuple[Tensor, float]:
        """Where damped Newton steps -(H² + μ)⁻¹ H ∇L lead, and |∇L| there over |∇L| here."""
        gradient = self.gradient(theta)
        first = size = float(gradient.norm())
        damping = 0.0
        sizes = [size] * STALLED
        for _ in range(ITERATIONS if len(theta) <= DENSE else BY_PRODUCTS):
            steps, reach = self._steps(theta, gradient)
            damping = damping or 1e-3 * reach**2
            for _ in range(12):
                trial = theta + steps(damping)
                slope = self.gradient(trial)
                if float(slope.norm()) < size:
                    break
                damping *= 10
            else:
                break
            theta, gradient, damping = trial, slope, max(damping / 10, 1e-14 * reach**2)
            size = float(gradient.norm())
            sizes.append(size)
            if size <= ENOUGH * first or size > 0.9 * sizes[-1 - STALLED]:
                break
        return theta, size / first

    def _steps(self, theta: Tensor, gradient: Tensor) -> tuple[Callable[[float], Tensor], float]:
        """The step for a damping μ, and |H|."""
        if len(theta) <= DENSE:
            values, vectors = torch.linalg.eigh(self.matrix(theta))
            parts = vectors.T @ gradient
            return lambda damping: vectors @ (-values * parts / (values.square() + damping)), float(
                values.abs().max()
            )
        product = self.products(theta)
        slope = product(gradient.numpy())

        def step(damping: float) -> Tensor:
            squared = LinearOperator(
                (len(slope),) * 2,
                matvec=lambda v: product(product(v)) + damping * v.reshape(-1),
                dtype=np.float64,
            )
            return torch.from_numpy(cg(squared, -slope, rtol=1e-4, maxiter=60)[0])

        return step, float(np.linalg.norm(slope)) / float(gradient.norm())

    def lowest(self, theta: Tensor) -> tuple[float, int]:
        """λ_min over |H|, and how many eigenvalues are negative."""
        if len(theta) <= DENSE:
            values = torch.linalg.eigvalsh(self.matrix(theta)).numpy()
        else:
            operator = LinearOperator((len(theta),) * 2, matvec=self.products(theta), dtype=np.float64)
            start = np.random.default_rng(0).normal(size=len(theta))
            values = np.concatenate(
                [
                    eigsh(operator, 1, which=end, return_eigenvectors=False, v0=start, tol=1e-3)
                    for end in ("SA", "LA")
                ]
            )
        reach = float(np.abs(values).max())
        return (float(values.min()) / reach, int((values < NEGATIVE * reach).sum())) if reach else (0.0, 0)


def doubled(data: Any) -> Any:
    """Data with all that is real in float64."""
    if isinstance(data, Tensor):
        return data.double() if data.is_floating_point() else data
    return tuple(doubled(part) for part in data)
