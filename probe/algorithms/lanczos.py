"""Both ends of a symmetric operator's spectrum from one Krylov space (Lanczos 1950; Parlett 1998, chapter 13).

It stops by itself when every wanted value is accurate and hardly anything beyond the two ends can have been overlooked.
The algorithm knows no model; any object with ``matvec`` will do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..operators.operator import Operator
from ..readings import Reading, read
from .basis import RecentBasis, basis, unit
from .ends import ACCURACY, BEYOND_TOP, KEPT, OVERLOOKED, Ends, Extremes
from .krylov import KrylovSpace

RANDOM_SHARE = 0.85
"""Share of the squared norm of a start with a known direction that is random, so that no new direction is missed: with
half of it a measurement of nine networks took one product more, since less of what it had not seen was ruled out."""

SPARE = 3
"""Vectors that a restarted space holds beyond the wanted ones at least."""


@dataclass(frozen=True, slots=True)
class Krylov:
    """The outcome of ``lanczos``."""

    extremes: Extremes
    vector: Tensor | None
    """(d,), the Ritz vector of the largest value; None where memory was too small to keep what it is made of."""
    stopped: bool
    """Everything wanted was found before the products ran out."""
    remark: str
    """What the memory left out, in words."""


@dataclass(frozen=True, slots=True)
class Early:
    """What is told on the way, once, if it is known before everything is."""

    ends: Ends
    tell: Callable[[Krylov], None]


def lanczos(
    operator: Operator,
    *,
    top: int = KEPT,
    bottom: int = 1,
    max_products: int = 64,
    accuracy: float = ACCURACY,
    unseen: float = BEYOND_TOP,
    overlooked: float = OVERLOOKED,
    known: Tensor | None = None,
    seed: int = 0,
    max_bytes: int = 1 << 30,
    host_bytes: int = 0,
    early: Early | None = None,
) -> Generator[None, None, Krylov]:
    """At most one product per ``next``; stops when ``top`` largest and ``bottom`` smallest values are known.

    ``unseen`` is how far above the largest value, relative to it, hardly anything may have been overlooked, and
    ``overlooked`` the largest bound of the probability that something was.
    ``accuracy`` is relative to the value; ``accuracy=0`` always spends ``max_products`` (or all that the operator's
    dimension allows). A ``known`` direction (d,), such as the gradient, which lies mostly along the
    largest eigenvectors (Gur-Ari, Roberts and Dyer 2018), goes into the start beside a random vector.
    On the CPU and on CUDA the numbers are looked at as they arrive, without ever waiting for the device, so that a GPU
    may be a few products ahead; on other devices they cannot be polled and nothing stops it.
    ``early``, once, is told of its own ends when they are found before everything is.
    When ``max_bytes`` on the device (and then ``host_bytes`` in host memory) has no room for all vectors, the space is
    restarted; when it has none for the wanted ones either, only the outermost value of each end is found.
    Raises ValueError for a product that is not finite and for a ``max_bytes`` that holds fewer than two vectors.
    """
    steps = min(max_products, operator.dim)
    vectors = basis(operator, steps, min(steps, top + bottom + SPARE), max_bytes, host_bytes)
    forgets = isinstance(vectors, RecentBasis)
    start = _start(operator, known, seed)
    space = KrylovSpace(operator, start, vectors, steps if forgets else vectors.rows)
    share = 1.0 if known is None else RANDOM_SHARE
    if forgets:
        wanted = Ends(min(top, 1), min(bottom, 1), accuracy, share, unseen, overlooked, copies=True)
    else:
        wanted = Ends(top, bottom, accuracy, share, unseen, overlooked)
    polled = operator.device.type in ("cpu", "cuda")
    rows: deque[Reading] = deque()
    certified, found = 0, False

    def outcome(ends: Ends, stopped: bool) -> Krylov:
        _, coefficients, _ = space.ritz()
        return Krylov(ends.extremes(space), vectors.combine(coefficients[:, -1]), stopped, vectors.remark)

    while space.products < steps and not found:
        rows.append(read(space.multiply()))
        yield
        full = space.rows < steps and space.multiplied == space.rows - 1
        while rows and not found and (full or (polled and rows[0].ready())):
            if not rows[0].ready():
                yield
                continue
            space.take(rows.popleft().values())
            found = wanted.found(space)
            if early is not None and not found and not forgets and early.ends.found(space):
                early.tell(outcome(early.ends, True))
                early = None
        if full and not found and space.products < steps:
            certified = max(certified, wanted.extremes(space).negative_at_least)
            space.restart(wanted.kept(space.multiplied))
    while rows:
        if not rows[0].ready():
            yield
            continue
        space.take(rows.popleft().values())
        found = wanted.found(space) or found
    krylov = outcome(wanted, found)
    # A restart discards values, and what was certain stays so.
    if certified > krylov.extremes.negative_at_least:
        krylov = replace(krylov, extremes=replace(krylov.extremes, negative_at_least=certified))
    return krylov


def _start(operator: Operator, known: Tensor | None, seed: int) -> Tensor:
    generator = torch.Generator(device=operator.device).manual_seed(seed)
    start = torch.randn(operator.dim, device=operator.device, dtype=operator.dtype, generator=generator)
    if known is None:
        return start
    return math.sqrt(RANDOM_SHARE) * unit(start) + math.sqrt(1 - RANDOM_SHARE) * unit(known.to(start))
