"""λ_1 followed from a vector that was near its own a little while ago: a few products instead of a search.

Rayleigh and Ritz on the Krylov space of that vector, with a part of the gradient, which turns to where instability begins.
What it finds is a lower bound of λ_1 up to rounding, and wrong by about the square of the residual; but it does not look
for another eigenvalue that may have overtaken, so a search must come in between.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from lsmon.protocol.frames import Ritz

from ..host_memory import host_room
from ..operators.operator import Landscape
from ..readings import read
from .basis import basis, unit
from .bounds import end_errors
from .ends import ROUNDING, Extremes
from .krylov import KrylovSpace
from .lanczos import Krylov

FEWEST, MOST = 3, 5
"""Products. Of three trainings on digits, 25 steps from look to look, three left gradient descent and Nesterov 0.8 % too low
at worst and four Adam 2 %, but for one overtaken; with two, what was missed added up to 10 % and no estimate saw it."""

NEAR = 1e-2
"""Estimated error, relative to the value, at which it stops."""

GRADIENT = 0.2
"""Length of the gradient's part beside the vector's."""


def follow(point: Landscape, vector: Tensor, max_bytes: int) -> Generator[None, None, Krylov]:
    """From ``vector`` (d,); at most one product between two yields. The one value of ``top`` is all that is found.

    Raises ValueError for a product that is not finite and for a ``max_bytes`` without room for two vectors.
    """
    most = min(MOST, point.dim)
    vectors = basis(point, most, most, max_bytes, host_room(point.device))
    start = unit(vector.to(point.device, point.dtype)) + GRADIENT * unit(point.gradient.to(point.device, point.dtype))  # fmt: skip
    space = KrylovSpace(point, start, vectors, most)
    while True:
        row = read(space.multiply())
        yield
        while not row.ready():
            yield
        space.take(row.values())
        values, coefficients, residuals = space.ritz()
        outwards = values.flip(0).tolist(), residuals.flip(0).tolist()
        value, error = outwards[0][0], end_errors(*outwards, 1)[0]
        good = space.ended or (space.taken >= FEWEST and error <= NEAR * abs(value))
        if good or space.products >= most:
            break
    eps = torch.finfo(point.dtype).eps
    rounding = max(space.noise, (ROUNDING * eps + space.doubt) * float(values.abs().max()))
    extremes = Extremes(
        top=(Ritz(value=value, residual=outwards[1][0] + rounding, converged=good),),
        bottom=(),
        negative_at_least=0,
        tolerance=0.0,
        noise=space.noise,
        hvps=space.products,
        memory=space.most * point.dim * torch.finfo(point.dtype).bits // 8,
        above=1.0,
        below=1.0,
    )
    return Krylov(extremes, vectors.combine(coefficients[:, -1]), good, vectors.remark)
