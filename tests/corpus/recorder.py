"""A training with everything written down: losses, evaluations, and the curvature on all of its data.

Parameters are one flat vector, so that the Hessian is a matrix: dense up to 200 parameters, else both ends
of its spectrum by the probe's own Lanczos.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lsmon.probe.algorithms.lanczos import lanczos

DENSE = 200

LossFn = Callable[[Tensor, Any], Tensor]
"""Of flat parameters and a batch."""


@dataclass
class Recorded:
    """Rows as in ``Run.attempts``, and what the truth is taken from."""

    scalars: list[Any] = field(default_factory=list)
    curvature: list[Any] = field(default_factory=list)
    modes: list[tuple[int, list[float]]] = field(default_factory=list)
    ways: list[Any] = field(default_factory=list)
    """Rows of [step, steps since, |u|, curvature along u], u the displacement since an earlier measurement."""
    points: list[tuple[int, Tensor]] = field(default_factory=list)
    """Where each measurement of the curvature was taken."""
    loss: LossFn | None = None
    reference: Any = None

    @property
    def rows(self) -> dict[str, list[Any]]:
        return {"scalars": self.scalars, "curvature": self.curvature, "ways": self.ways}


SELDOM = 100
"""Steps between two measurements where they are rare."""


class Way:
    """How the training went from one measurement to the next, at least ``every`` steps later."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._last: tuple[int, Tensor, Tensor, float] | None = None

    def come(self, step: int, theta: Tensor, loss: LossFn, batch: Any) -> list[list[float]]:
        """A row of [step, steps since, |u|, 2 (L - L₀ - ∇L₀·u) / |u|²] where it is time for one.

        The last is the mean of uᵀHu / |u|² on the straight way from there to here, weighted with 2 (1 - t).
        """
        if self._last is not None and step - self._last[0] < self._every:
            return []
        here = theta.clone().requires_grad_()
        value = loss(here, batch)
        (gradient,) = torch.autograd.grad(value, here)
        last, self._last = (
            self._last,
            (step, theta.clone().double(), gradient.double(), float(value.detach())),
        )
        if last is None:
            return []
        u = self._last[1] - last[1]
        length = float(u.norm())
        excess = self._last[3] - last[3] - float(last[2] @ u)
        return [[step, step - last[0], length, 2 * excess / length**2]] if length else []


@dataclass
class Training:
    """What is trained and how."""

    theta: Tensor
    loss: LossFn
    reference: Any
    batch: Callable[[int], Any] | None = None
    """The batch of a step; the reference, all of the data, when there is none."""
    optimizer: Callable[[list[Tensor]], torch.optim.Optimizer] | None = None
    lr: Callable[[int], float] = lambda step: 0.01
    evaluate: Callable[[Tensor, int], dict[str, float]] | None = None
    eval_every: int = 25
    modes: Callable[[Tensor], list[float]] | None = None
    every: int = 10
    """Steps between two measurements of the curvature; 0: none."""
    before: Callable[[int, torch.optim.Optimizer, Tensor], None] | None = None
    """For what is done to a training: noise, a spike, a reset."""

    def run(self, steps: int, first: int = 0, recorded: Recorded | None = None) -> Recorded:
        found = Recorded() if recorded is None else recorded
        found.loss, found.reference = self.loss, self.reference
        theta = self.theta.requires_grad_()
        make = self.optimizer or (lambda parameters: torch.optim.SGD(parameters, lr=0.01))
        optimizer = make([theta])
        ways = [Way(every) for every in (self.every, SELDOM)]
        for step in range(first, first + steps):
            for group in optimizer.param_groups:
                group["lr"] = self.lr(step)
            if self.before is not None:
                self.before(step, optimizer, theta)
            batch = self.reference if self.batch is None else self.batch(step)
            optimizer.zero_grad()
            value = self.loss(theta, batch)
            value.backward()  # type: ignore[no-untyped-call]
            gradient = theta.grad
            assert gradient is not None
            values = {"loss": float(value.detach()), "lr": self.lr(step)}
            if self.every and step % self.every == 0 and math.isfinite(values["loss"]):
                row = measured(self.loss, theta.detach(), self.reference)
                found.curvature.append([step, *row])
                found.points.append((step, theta.detach().clone()))
                for way in ways:
                    found.ways += way.come(step, theta.detach(), self.loss, self.reference)
            if self.modes is not None and step % 5 == 0:
                found.modes.append((step, self.modes(theta.detach())))
            if self.evaluate is not None and step % self.eval_every == 0:
                values |= self.evaluate(theta.detach(), step)
            before = theta.detach().clone() if step % 10 == 0 else None
            optimizer.step()
            if before is not None:
                size = float(before.norm())
                values["grad/norm"] = float(gradient.norm())
                values["weight/norm"] = size
                values["update/ratio"] = float((theta.detach() - before).norm()) / size if size else 0.0
            found.scalars.append([step, values])
        return found


class _Products:
    """∇²L at one point as an operator."""

    def __init__(self, loss: LossFn, theta: Tensor, batch: Any) -> None:
        self._theta = theta.clone().requires_grad_()
        value = loss(self._theta, batch)
        (self._gradient,) = torch.autograd.grad(value, self._theta, create_graph=True)
        self.loss = float(value.detach())
        self.gradient = self._gradient.detach()
        self.dim, self.device, self.dtype = theta.numel(), theta.device, theta.dtype

    def matvec(self, vector: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(self._gradient, self._theta, vector, retain_graph=True)
        return product


def measured(loss: LossFn, theta: Tensor, batch: Any) -> list[float]:
    """λ_max, λ_min, ĝᵀHĝ, |∇L| and L."""
    if theta.numel() <= DENSE:
        point = _Products(loss, theta, batch)
        hessian = torch.func.hessian(loss)(theta, batch)
        if not torch.isfinite(hessian).all():
            return [math.nan] * 5
        values = torch.linalg.eigvalsh(hessian.double())
        ends = float(values[-1]), float(values[0])
    else:
        point = _Products(loss, theta, batch)
        work = lanczos(point, top=1, bottom=1, max_products=32, known=point.gradient)
        while True:
            try:
                next(work)
            except StopIteration as done:
                krylov = done.value
                break
        ends = krylov.extremes.top[0].value, krylov.extremes.bottom[0].value
    norm = float(point.gradient.norm())
    unit = point.gradient / norm if norm else point.gradient
    return [*ends, float(unit @ point.matvec(unit)), norm, point.loss]


def cut(theta: Tensor, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Pieces of a flat vector as views of these shapes."""
    pieces, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        pieces.append(theta[start : start + size].reshape(shape))
        start += size
    return pieces


def size(*shapes: tuple[int, ...]) -> int:
    return sum(math.prod(shape) for shape in shapes)
