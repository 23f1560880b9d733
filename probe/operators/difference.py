"""The Hessian by differences of gradients, for models that cannot be differentiated twice.

H·v ≈ (∇L(θ + εv) - ∇L(θ - εv)) / 2ε at a snapshot, two gradients a product. Truncation grows with ε², rounding with
1/ε, and the best ε depends on the model; so it is calibrated once, relative to ‖θ‖ for a unit v, and the error is the
difference that another step makes. On ReLU and max-pool, whose gradient jumps, there may be no good step in float32.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..readings import read
from .snapshot import Examples, LossFn, Snapshot

FACTOR = 4.0
"""Between the two steps that are compared: truncation then differs 16-fold and rounding 4-fold."""

STEPS = tuple(1e-4 * FACTOR**k for k in range(-4, 4))
"""Candidates in float32, times ‖θ‖. The best were 1e-4 for an MLP of 50 000 parameters and 2e-5 for a small GPT."""

DOUBLE_STEPS = (2e-8, 8e-8, 3.2e-7)
"""The same in float64: 1e-6 would balance rounding and truncation, but a shorter step meets fewer kinks, so that the
difference is the Hessian's even with ReLU and max-pool (error 1e-7, where float32 has 0.2 to 6)."""

MOVING = "loss_fn reads something that changes from step to step"
"""A difference that is taken some steps after another product is of another loss."""

MOVED = 1e-2
"""``drift`` from which on products of the same snapshot are of several losses, and their common curvature is of none."""

CHECKED = 2
"""Products of a measurement whose error is estimated: the second one of a Krylov space is already near the top."""


class Difference:
    """∇²L at the parameters that the model has now, by central differences of step ``step``·‖θ‖ (for a unit vector).

    ``error``, shape (): largest difference that a step four times as long made to a product, relative to the largest
    product; NaN before the first one. It stays on the device.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn,
        reference: Examples,
        *,
        step: float = 1e-4,
        precision: torch.dtype | None = None,
    ) -> None:
        self.snapshot = Snapshot(model, loss_fn, reference, precision=precision)
        self.dim, self.device, self.dtype = self.snapshot.dim, self.snapshot.device, self.snapshot.dtype
        self.gradient, self.loss = self.snapshot.gradient(self.snapshot.parameters)
        self.grad_norm: Tensor = torch.linalg.vector_norm(self.gradient)
        self.step = step
        norm = self.snapshot.norm()
        self._scale = torch.where(
            norm > 0, norm, torch.ones_like(norm)
        )  # all zero at the start: no scale of its own
        self._checks = CHECKED
        self._apart = torch.zeros_like(norm)
        self._largest = torch.zeros_like(norm)

    @property
    def names(self) -> list[str]:
        """The parameters, in their order in a vector."""
        return list(self.snapshot.parameters)

    @property
    def error(self) -> Tensor:
        return self._apart / self._largest

    @property
    def doubt(self) -> Tensor:
        """How wrong products are, at most, relative to the largest, shape (): what grows with the step, if only as fast
        as it does, is three times as much more with one four times as long."""
        return self.error.nan_to_num(0.0) / (
            FACTOR - 1
        )  # of a product that is zero nothing is known, nor wrong

    def matvec(self, vector: Tensor) -> Tensor:
        """H·v for v of shape (dim,), in the dtype of ``v``; the first two products cost twice, for ``error``."""
        product = self.product(vector, self.step)
        if self._checks:
            self._checks -= 1
            norm = torch.linalg.vector_norm(vector).to(self.dtype)
            apart = torch.linalg.vector_norm(self.product(vector, self.step * FACTOR) - product) / norm
            self._apart = torch.maximum(self._apart, apart)
            self._largest = torch.maximum(self._largest, torch.linalg.vector_norm(product) / norm)
        return product.to(vector.dtype)

    def drift(self) -> Tensor:
        """How far the gradient at the snapshot is now from what it was, relative to the larger, shape (): rounding, or the
        loss is another function than it was (a number that the loop changes where it is not looked for)."""
        now, _ = self.snapshot.gradient(self.snapshot.parameters)
        return _apart(now, self.gradient).nan_to_num(0.0)

    def product(self, vector: Tensor, step: float) -> Tensor:
        """H·v with the step ``step``·‖θ‖ along the unit vector."""
        vector = vector.to(self.device, self.dtype)
        # A zero vector must give zero, and not 0/0.
        length = torch.linalg.vector_norm(vector).clamp_min(torch.finfo(self.dtype).tiny)
        reach = step * self._scale / length
        ahead, _ = self.snapshot.gradient(self.snapshot.moved(vector, reach))
        behind, _ = self.snapshot.gradient(self.snapshot.moved(vector, -reach))
        product: Tensor = (ahead - behind) / (2 * reach)
        return product

    def rounding(self, vector: Tensor, step: float, product: Tensor) -> Tensor:
        """What a rounded gradient makes of ``product``, relative to it: ε|∇L| / (2·step·‖θ‖·|Hv|) for a unit v."""
        length, found = torch.linalg.vector_norm(vector), torch.linalg.vector_norm(product)
        lost: Tensor = torch.finfo(self.dtype).eps * self.grad_norm * length.to(found) / found
        return lost / (2 * step * self._scale)


def unmoved(point: object) -> Generator[None, None, None]:
    """At the end of a measurement. Raises ValueError where differences were taken of a loss that moved meanwhile."""
    if not isinstance(point, Difference):
        return
    (drift,) = yield from numbers(point.drift())
    if drift > MOVED:
        raise ValueError(
            f"{MOVING} (its gradient at one point moved by {drift:.0%}), "
            "which finite differences cannot tell from curvature"
        )


class Calibration(NamedTuple):
    """What ``calibrate`` found: the step, the relative error of the product with it, and that product."""

    step: float
    error: float
    product: Tensor


def calibrate(
    operator: Difference, vector: Tensor, enough: float = 0.0
) -> Generator[None, None, Calibration]:
    """Try steps on one vector and take that in the middle of the two that agree best: 8 gradients in float64, 18 else;
    4 where the first two steps agree within ``enough``, and the shorter of them is taken.

    Yields between the products, and while numbers are on their way from a device.
    """
    steps = DOUBLE_STEPS if operator.dtype == torch.float64 else STEPS
    products: list[Tensor] = []

    def apart(index: int) -> Tensor:
        """Two steps may agree by chance, digit for digit in few dimensions: rounding is the least that is wrong."""
        one, other = products[index : index + 2]
        return torch.maximum(_apart(one, other), operator.rounding(vector, steps[index], one))

    for step in steps:
        products.append(operator.product(vector, step))
        yield
        if enough and len(products) == 2:
            (error,) = yield from numbers(apart(0))
            if error <= enough:
                return Calibration(steps[0], error, products[0])
    errors = yield from numbers(torch.stack([apart(index) for index in range(len(products) - 1)]))
    # NaN where both products vanish or overflow: the worst of all.
    index = min(range(len(errors)), key=lambda i: float("inf") if math.isnan(errors[i]) else errors[i])
    step = steps[index] * FACTOR**0.5
    product = operator.product(vector, step)
    return Calibration(step, errors[index], product)


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Relative to the larger; NaN when both vanish."""
    difference: Tensor = torch.linalg.vector_norm(a - b) / torch.maximum(
        torch.linalg.vector_norm(a), torch.linalg.vector_norm(b)
    )
    return difference


def numbers(tensor: Tensor) -> Generator[None, None, list[float]]:
    """The values, without making the training wait for a device: yields until they are here."""
    reading = read(tensor)
    while not reading.ready():
        yield
    return reading.values()
