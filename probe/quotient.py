"""The Rayleigh quotient of one vector and the Hessian of all the examples, a chunk of them at a time."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Generator

import torch
from torch import Tensor

from .algorithms.estimate import wider
from .operators.hessian import Hessian
from .operators.snapshot import Snapshot
from .readings import read
from .reference import Chunks

LOOKED = 8
"""Chunks between two looks at the error of their mean."""

NEAR = 0.1
"""The error that will do, relative: what is asked for is how many times too high a sharpness is."""


def rayleigh_quotient(
    point: Hessian,
    chunks: Chunks,
    vector: Tensor,
    tell: Callable[[float, float], None] = lambda mean, error: None,
) -> Generator[None, None, tuple[float, float]]:
    """vᵀHv for a unit vector and the Hessian of all the chunks together, at the snapshot of ``point``, with a standard
    error; a product on one chunk between two yields, whose graph is let go before the next.

    It is the mean over the chunks, so some of them will do: no more are looked at once the error is a tenth of it. On the
    way there ``tell`` gets both after every few.
    """
    sums: list[Tensor] = []
    sizes: list[int] = []
    known: list[float] = []
    mean = error = 0.0
    order = list(range(len(chunks)))
    random.Random(0).shuffle(order)  # neighbours may be of one class
    for chunk in map(chunks.__getitem__, order):
        part = copy.copy(point.snapshot)
        part.batches, part.sizes = list(chunk.batches), list(chunk.sizes)
        product = _product(part, vector)
        sums.append(torch.dot(vector.to(product), product))
        sizes.append(sum(part.sizes))
        yield
        if len(sums) - len(known) >= LOOKED or len(sums) == len(order):
            reading = read(torch.stack(sums[len(known) :]))
            while not reading.ready():
                yield
            known += reading.values()
            mean = math.fsum(n * value for n, value in zip(sizes, known, strict=True)) / sum(sizes)
            spread = math.fsum((n * (value - mean)) ** 2 for n, value in zip(sizes, known, strict=True))
            if len(known) == len(order):
                return mean, 0.0
            bessel = len(known) / max(1, len(known) - 1)
            error = math.sqrt(spread * bessel * (1 - len(known) / len(order))) / sum(sizes)
            error *= wider(len(known))
            if error <= NEAR * abs(mean):
                break
            tell(mean, error)
    return mean, error


def _product(snapshot: Snapshot, vector: Tensor) -> Tensor:
    """H·v by double backward, keeping nothing."""
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in snapshot.parameters.items()}
    wanted = list(leaves.values())

    def twice() -> Tensor:
        loss = torch.stack([term.to(snapshot.device) for term in snapshot.terms()]).sum()
        gradients = torch.autograd.grad(loss, wanted, create_graph=True, allow_unused=True)
        pairs = [
            (gradient, piece.to(gradient.device, gradient.dtype))
            for gradient, piece in zip(gradients, snapshot.pieces(vector), strict=True)
            if gradient is not None and gradient.requires_grad
        ]
        if not pairs:
            return torch.zeros_like(vector)
        products = torch.autograd.grad(
            [gradient for gradient, _ in pairs], wanted, [piece for _, piece in pairs], allow_unused=True
        )
        return snapshot.flat(products)

    return snapshot.inside(leaves, twice)
