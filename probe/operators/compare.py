"""Double backward against finite differences, on one vector of one snapshot: which of them is to be believed."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from ..signals import heed
from .difference import Calibration, Difference, calibrate, numbers
from .hessian import Hessian

T = TypeVar("T")

BELIEVED = 0.1
"""A finite difference with a larger error than this decides nothing."""

AGREE = 1e-3
"""Relative difference that rounding alone may make in float32; measured 1e-6 … 1e-5."""

BEYOND = 3.0
"""Times the estimated error: it is an estimate."""

ENOUGH = AGREE / BEYOND
"""Two steps of a finite difference that agree so well tell whether an exact product is right."""

SAME = 1e-2
"""Relative difference of two gradients in float32 and float64 below which they are of the same function."""


DRIFT = 1e-4
"""Relative change of a gradient in float32 that is more than rounding, on a device too."""


class Product(NamedTuple):
    gradient: Tensor
    direction: Tensor
    product: Tensor


class Found(NamedTuple):
    precision: torch.dtype | None
    calibration: Calibration

    @property
    def doubt(self) -> float:
        return math.inf if math.isnan(self.calibration.error) else self.calibration.error

    @property
    def believed(self) -> bool:
        return self.calibration.error <= BELIEVED


def exact_product(hessian: Hessian) -> Generator[None, None, Product]:
    """By double backward, of a direction that moves every layer but mostly the sharpest ones."""
    direction = _mixed(hessian.matvec(_unit(hessian.gradient)))
    yield
    product = hessian.matvec(direction)
    yield
    return Product(hessian.gradient, direction, product)


def differences(
    double: Difference | Exception | None, single: Difference | Exception | None, exact: Product | None
) -> Generator[None, None, list[Found]]:
    """Calibrated differences, those in float64 first, then in the model's own precision; whichever work and, when an
    exact product is to be checked, are needed. Raises what the last one raised when none works."""
    found: list[Found] = []
    failure: Exception | None = None
    if exact is not None:
        gradient, direction = exact.gradient, exact.direction
    else:
        first = unless(single)
        gradient = first.gradient
        direction = _mixed(first.product(_unit(gradient), first.step))
        yield
    for precision, made in ((torch.float64, double), (None, single)):
        try:
            operator = unless(made)
            (other,) = yield from numbers(_apart(operator.gradient, gradient))
            if precision is not None and other > SAME:
                continue  # what draws random numbers, or computes in float32 by itself, is another function here
            one = yield from calibrate(operator, direction, ENOUGH if exact else 0.0)
            if found and found[0].believed:  # then the error is known, and not only estimated
                (true,) = yield from numbers(_apart(one.product, found[0].calibration.product))
                one = one._replace(error=max(one.error, true))
            found.append(Found(precision, one))
            if exact and found[0].believed:
                break
        except Exception as error:  # noqa: BLE001
            heed(error)
            failure = error
    if not found and failure is not None:
        raise failure
    return found


def disagreement(exact: Tensor, found: Sequence[Found]) -> Generator[None, None, str]:
    """In words, when double backward and a difference that is to be believed are further apart than their errors."""
    check = next((one.calibration for one in found if one.believed), None)
    if check is None:
        return ""
    (apart,) = yield from numbers(_apart(exact, check.product))
    if not math.isfinite(apart):
        return "double backward is not finite where a finite difference is, so it is not used"
    if apart <= AGREE + BEYOND * check.error:
        return ""
    return f"double backward is off by {apart:.0%} from a finite difference, so it is not used"


def moves(made: Sequence[Difference | Exception | None]) -> Generator[None, None, bool]:
    """Whether the loss is no longer the function that it was when these were made: then products that were taken one
    after the other say nothing of each other."""
    operator = next((one for one in made if isinstance(one, Difference)), None)
    if operator is None:
        return False
    (drift,) = yield from numbers(operator.drift())
    return drift > DRIFT


def unless(made: T | Exception | None) -> T:
    if isinstance(made, Exception):
        raise made
    assert made is not None
    return made


def _unit(vector: Tensor) -> Tensor:
    """Of length 1; zero or not finite, any direction."""
    norm = torch.linalg.vector_norm(vector)
    fine = torch.isfinite(norm) & (norm > 0)
    return torch.where(fine, vector / torch.where(fine, norm, torch.ones_like(norm)), _random(vector))


def _random(like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(like.numel(), generator=generator, dtype=torch.float32).to(like.device, like.dtype)
    unit: Tensor = vector / torch.linalg.vector_norm(vector)
    return unit


def _mixed(vector: Tensor) -> Tensor:
    return _unit(_unit(vector) + _random(vector))


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Relative to the larger; zero when both vanish."""
    norm = torch.maximum(torch.linalg.vector_norm(a), torch.linalg.vector_norm(b).to(a.dtype))
    apart: Tensor = torch.linalg.vector_norm(a - b.to(a.dtype)) / norm.clamp_min(torch.finfo(a.dtype).tiny)
    return apart
