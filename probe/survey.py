"""One measurement of curvature at one point, a product at a time: the sensor spreads it over training steps, and
``measure`` does it at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lsmon.protocol.frames import Curvature

from .algorithms.basis import unit
from .algorithms.ends import ACCURACY, Ends, Extremes
from .algorithms.lanczos import RANDOM_SHARE, Early, Krylov, lanczos
from .host_memory import host_room
from .operators.difference import Difference
from .operators.hessian import Hessian
from .operators.operator import Landscape
from .operators.quiet import arithmetic
from .readings import read

MOST = 40
"""Products of a complete measurement: 20 to 40 are needed, but where a fresh network's largest values lie within a few
per cent of one another, which takes 50 to 70 and is said to be not converged instead."""

MOST_SHARPNESS = 28
"""Products of the sharpness alone: 4 to 15 were needed, at a network's start up to 25."""

UNSEEN, OVERLOOKED = 0.2, 0.1
"""How far above λ_1 alone, relative to it, hardly anything may have been overlooked, and the largest bound of the probability
that something was, where nothing is known of it: of 216 first searches on 108 networks ten took a value that was more than
1 % lower, by 8 % at most, and of 180 on networks of a few hundred parameters two, by 5 %; three by 16 % were met in trainings
of such. With 0.3 and 0.3 it were 28 of the 216, by up to 21 %. With 0.1 and 0.1 four, but a fresh GPT takes 20 products
instead of 14."""

FOUND_BEFORE = 0.3
"""Both, where it was found before and not long ago: of 282 searches two were wrong, by 4 and 6 %."""

SKEW = 0.02
"""Asymmetry of the products, relative to the largest value, that rounding, kinks and finite differences stay below."""

Point = Hessian | Difference


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found at one point."""

    krylov: Krylov
    loss: float
    grad_norm: float
    grad_curvature: float | None
    """ĝᵀHĝ; None when it was not asked for, or where the gradient is zero."""
    hvps: int


@contextmanager
def plainly(model: nn.Module) -> Iterator[None]:
    """Vectors are added and multiplied in their own precision, whatever autocast the training has around its step."""
    devices = {parameter.device for parameter in model.parameters()}
    with arithmetic(devices), torch.no_grad():
        yield


def survey(
    point: Point,
    *,
    complete: bool = True,
    products: int = MOST,
    seed: int = 0,
    max_bytes: int = 1 << 30,
    alone: Generator[None, None, Krylov] | None = None,
    last: Tensor | None = None,
    tell: Callable[[Survey], None] | None = None,
) -> Generator[None, None, Survey]:
    """λ_1 alone, or both ends with five values from the top and ĝᵀHĝ; at most one product between two yields.

    ``alone``: how λ_1 is found, where it is not by a search. ``last`` (d,): where it was found the last time.
    ``tell``: is told λ_1 as soon as a search for it alone would have ended.

    Raises ValueError for a product that is not finite and for a basis that ``max_bytes`` has no room for.
    """
    facts = read(torch.stack([fact.to(point.device, point.dtype) for fact in (point.loss, point.grad_norm)]))

    def found(krylov: Krylov, along: float | None = None) -> Survey:
        loss, grad_norm = facts.values()
        bent = along if grad_norm > 0 else None
        return Survey(krylov, loss, grad_norm, bent, krylov.extremes.hvps + (along is not None))

    if not complete:
        krylov = yield from alone or sharpest(point, seed, max_bytes, products, last)
        while not facts.ready():
            yield
        return found(krylov)
    early = None
    if tell is not None:
        unseen, overlooked = _surely(last)
        ends = Ends(1, 0, ACCURACY, RANDOM_SHARE, unseen, overlooked)
        early = Early(ends, lambda krylov: tell(found(krylov)))
    krylov = yield from lanczos(
        point,
        max_products=products,
        known=_known(point, last),
        seed=seed,
        max_bytes=max_bytes,
        host_bytes=host_room(point.device),
        early=early,
    )
    direction = unit(point.gradient.to(point.device, point.dtype))
    along = read(torch.dot(direction, point.matvec(direction)).reshape(1))
    yield
    while not (facts.ready() and along.ready()):
        yield
    return found(krylov, along.values()[0])


def sharpest(
    point: Landscape, seed: int, max_bytes: int, products: int = MOST_SHARPNESS, last: Tensor | None = None
) -> Generator[None, None, Krylov]:
    """λ_1 alone. ``last`` (d,) is where it was found the last time."""
    unseen, overlooked = _surely(last)
    return lanczos(
        point,
        top=1,
        bottom=0,
        max_products=min(products, MOST_SHARPNESS),
        unseen=unseen,
        overlooked=overlooked,
        known=_known(point, last),
        seed=seed,
        max_bytes=max_bytes,
        host_bytes=host_room(point.device),
    )


def _known(point: Landscape, last: Tensor | None) -> Tensor:
    """Two values of which one is a little larger are told apart late, and then it is not the smaller one that is found."""
    if last is None:
        return point.gradient
    return unit(last.to(point.device, point.dtype)) + unit(point.gradient.to(point.device, point.dtype)) / 2


def _surely(last: Tensor | None) -> tuple[float, float]:
    return (UNSEEN, OVERLOOKED) if last is None else (FOUND_BEFORE, FOUND_BEFORE)


def skewed(extremes: Extremes | Curvature) -> str:
    """What is wrong with eigenvalues of products that are not symmetric, as of a straight-through estimator; else nothing."""
    size = max(abs(ritz.value) for ritz in (*extremes.top, *extremes.bottom))
    if not size or extremes.noise <= SKEW * size:
        return ""
    return (
        f"the products are not symmetric ({extremes.noise / size:.0%} of the largest value): the gradient is that of no "
        "function, and the ± are too small"
    )
