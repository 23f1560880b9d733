"""The trace from products with random vectors, as Σ λ: Hutchinson's mean and Hutch++ (Meyer, Musco, Musco, Woodruff
2021), whose error falls as 1/m instead of 1/√m where few eigenvalues carry the trace.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from ..operators.operator import Operator
from ..readings import read
from .estimate import Estimate, estimate
from .krylov import norm, orthogonalise
from .probes import Kind
from .probes import probes as draw


def hutchinson(
    operator: Operator, *, probes: int = 8, seed: int = 0, kind: Kind = "rademacher"
) -> Generator[None, None, Estimate]:
    """Mean of vᵀHv; one product per ``next``. Unbiased, variance 2(|H|_F² - Σ H_ii²) a probe for Rademacher."""
    samples = []
    for vector in draw(operator, probes, seed, kind):
        samples.append(_dot(vector, operator.matvec(vector)))
        yield
    return estimate((yield from _fetch(samples)))


def hutch_plus_plus(
    operator: Operator, *, products: int = 24, seed: int = 0, kind: Kind = "rademacher"
) -> Generator[None, None, Estimate]:
    """A third of the products finds a range that carries most of H, a third its exact part of the trace, and the last
    third is Hutchinson's mean of the rest, from which the error comes.

    Memory: a third of ``products`` vectors. Raises ValueError for fewer than six products.
    """
    if products < 6:
        raise ValueError("Hutch++ needs at least six products")
    third = products // 3
    vectors = draw(operator, products - third, seed, kind)
    basis = torch.zeros(min(third, operator.dim), operator.dim, device=operator.device, dtype=operator.dtype)
    for rank in range(len(basis)):
        image, _ = orthogonalise(operator.matvec(next(vectors)), basis[:rank])
        size = norm(image)
        basis[rank] = image / size.clamp_min(torch.finfo(image.dtype).tiny)
        basis[rank], _ = orthogonalise(
            basis[rank], basis[:rank]
        )  # what is left of a dependent image is rounding
        basis[rank] /= norm(basis[rank]).clamp_min(torch.finfo(image.dtype).tiny)
        yield
    exact = []
    for row in basis:
        exact.append(_dot(row, operator.matvec(row)))
        yield
    samples = []
    for vector in vectors:
        rest, _ = orthogonalise(vector, basis)
        samples.append(_dot(rest, operator.matvec(rest)))
        yield
    numbers = yield from _fetch([*exact, *samples])
    rest_of_it = estimate(numbers[len(exact) :])
    return Estimate(sum(numbers[: len(exact)]) + rest_of_it.value, rest_of_it.se)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum()  # pairwise, unlike torch.dot


def _fetch(numbers: list[Tensor]) -> Generator[None, None, list[float]]:
    reading = read(torch.stack(numbers))
    while not reading.ready():
        yield
    return reading.values()
