"""Both ends of a symmetric operator's spectrum from one Krylov space (Lanczos 1950; Parlett 1998, chapter 13).

It stops by itself when every wanted value has a small residual and hardly anything beyond the two ends can have been
overlooked. The algorithm knows no model; any object with ``matvec`` will do.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lsmon.protocol.frames import Ritz

from ..operators.operator import Operator
from ..readings import Reading, read
from .krylov import KrylovSpace, norm

KEPT = 5
"""Values reported from each end."""

CONVERGED = 1e-2
"""Largest residual, relative to the value, that counts as converged: asked for 1e-1 the top five were 10 % off."""

CERTAIN = 1e-4
"""A Ritz value must be below this times |H| to count as negative (and below 20 times the noise of the products)."""

NOISE_FACTOR = 20.0

ROUNDING = 16.0
"""Residuals shrink below any bound in exact arithmetic; a product in float32 was wrong by up to 9 roundings of |H|."""

OVERLOOKED = 0.2
"""Largest bound of the probability that a value beyond an end has not appeared yet. On real networks one run in 36 that
looked at residuals only was fooled, none with this; 0.05 costs two products more."""

RANDOM_SHARE = 0.5
"""Share of a warm start's squared norm that is random, so that no new direction is missed."""

SPARE = 3
"""Vectors that a restarted space holds beyond the wanted ones at least."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """What one Krylov space says of the two ends.

    An eigenvalue of multiplicity k is seen once, as by every Krylov method.
    """

    top: tuple[Ritz, ...]
    """The largest first."""
    bottom: tuple[Ritz, ...]
    """The most negative first."""
    negative_at_least: int
    """Eigenvalues below ``-tolerance``: at least so many (Cauchy interlacing)."""
    tolerance: float
    noise: float
    """Largest asymmetry of the products that was seen, absolute."""
    hvps: int
    memory: int
    """Bytes of the basis."""
    above: float
    """Bound of the probability that an eigenvalue above ``top[0]``, or just above the last wanted, was overlooked."""
    below: float
    """The same at the other end."""


@dataclass(frozen=True, slots=True)
class Krylov:
    """The outcome of ``lanczos``."""

    extremes: Extremes
    warm: Tensor
    """(d,), the sum of the Ritz vectors of both ends: pass it to the next run."""
    stopped: bool
    """Everything wanted was found before the products ran out."""


def lanczos(
    operator: Operator,
    *,
    top: int = KEPT,
    bottom: int = 1,
    max_products: int = 64,
    residual: float = CONVERGED,
    warm: Tensor | None = None,
    seed: int = 0,
    max_bytes: int = 1 << 30,
) -> Generator[None, None, Krylov]:
    """At most one product per ``next``; stops when ``top`` largest and ``bottom`` smallest values are known.

    ``residual`` is relative to the value; ``residual=0`` always spends ``max_products`` (or all that the operator's
    dimension allows). On the CPU and on CUDA the numbers are looked at as they arrive, without ever waiting for the
    device, so that a GPU may be a few products ahead; on other devices they cannot be polled and nothing stops it.
    Raises ValueError for a product that is not finite and for a ``max_bytes`` that holds no useful basis.
    """
    steps = min(max_products, operator.dim)
    room = max_bytes // (torch.finfo(operator.dtype).bits // 8 * operator.dim)
    fewest = min(steps, top + bottom + SPARE)
    if room < fewest:
        raise ValueError(f"max_bytes holds {room} vectors of the operator, and at least {fewest} are needed")
    space = KrylovSpace(operator, _start(operator, warm, seed), min(steps, room))
    wanted = _Wanted(top, bottom, residual, warm is not None)
    polled = operator.device.type in ("cpu", "cuda")
    rows: deque[Reading] = deque()
    certified, found = 0, False
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
        if full and not found and space.products < steps:
            certified = max(certified, wanted.extremes(space).negative_at_least)
            space.restart(wanted.kept(space.multiplied))
    while rows:
        if not rows[0].ready():
            yield
            continue
        space.take(rows.popleft().values())
        found = wanted.found(space) or found
    extremes = wanted.extremes(space)
    if certified > extremes.negative_at_least:  # a restart discards values, and what was certain stays so
        extremes = replace(extremes, negative_at_least=certified)
    return Krylov(extremes, wanted.sum(space), found)


def _start(operator: Operator, warm: Tensor | None, seed: int) -> Tensor:
    generator = torch.Generator(device=operator.device).manual_seed(seed)
    start = torch.randn(operator.dim, device=operator.device, dtype=operator.dtype, generator=generator)
    if warm is None:
        return start
    known = warm.to(start) / norm(warm).clamp_min(torch.finfo(warm.dtype).tiny)
    return math.sqrt(RANDOM_SHARE) / norm(start) * start + math.sqrt(1 - RANDOM_SHARE) * known


@dataclass(slots=True)
class _Wanted:
    """What is asked of a Krylov space, and its answers."""

    top: int
    bottom: int
    residual: float
    warm: bool
    settled: int = 0
    """Successive products with which every wanted residual was small."""

    def found(self, space: KrylovSpace) -> bool:
        """To be asked after each product: nothing wanted is missing.

        A cold start must have looked everywhere. A warm one takes over what the last run knew, for that is its whole
        gain, and asks for small residuals twice in a row.
        """
        if space.ended:
            return True
        if self.residual <= 0 or space.taken < self.top + self.bottom:
            return False
        values, _, residuals = space.ritz()
        small = residuals <= self._bars(values, space.noise)
        if not bool(small[: self.bottom].all() and small[len(small) - self.top :].all()):
            self.settled = 0
            return False
        self.settled += 1
        if self.warm:
            return self.settled >= 2
        above, below = self._overlooked(space, values)
        return max(above if self.top else 0.0, below if self.bottom else 0.0) <= OVERLOOKED

    def extremes(self, space: KrylovSpace) -> Extremes:
        values, _, residuals = space.ritz()
        size = float(values.abs().max())
        eps = torch.finfo(space.operator.dtype).eps * math.sqrt(1 + space.restarts)  # each rounds once more
        rounding = max(space.noise, ROUNDING * eps * size)
        tolerance = _tolerance(size, space.noise)
        bars = self._bars(values, space.noise)
        above, below = self._overlooked(space, values)
        pairs = [
            Ritz(value=value, residual=residual + rounding, converged=residual <= bar)
            for value, residual, bar in zip(values.tolist(), residuals.tolist(), bars.tolist(), strict=True)
        ]
        return Extremes(
            top=tuple(reversed(pairs[-max(KEPT, self.top) :])),
            bottom=tuple(pairs[: max(KEPT, self.top, self.bottom)]),
            # a Ritz value is known to the rounding only, and what is certified must be true
            negative_at_least=sum(pair.value + rounding < -tolerance for pair in pairs),
            tolerance=tolerance,
            noise=space.noise,
            hvps=space.products,
            memory=space.most * space.operator.dim * torch.finfo(space.operator.dtype).bits // 8,
            above=above,
            below=below,
        )

    def sum(self, space: KrylovSpace) -> Tensor:
        """Sum of the Ritz vectors of the wanted ends."""
        _, coefficients, _ = space.ritz()
        ends = coefficients[:, max(0, len(coefficients) - self.top) :].sum(1)
        if self.bottom:
            ends = ends + coefficients[:, : max(self.bottom, KEPT)].sum(1)
        return space.combine(ends)

    def kept(self, size: int) -> list[int]:
        """Positions of the Ritz vectors that survive a restart: half of them, shared between the wanted ends."""
        half = max(size // 2, self.top + self.bottom + 1)
        low = max(half // 2, self.bottom) if self.bottom else 0
        high = max(half - low, self.top)
        low = min(low, size - 1 - high) if self.bottom else 0
        return [*range(low), *range(size - high, size)]

    def _bars(self, values: Tensor, noise: float) -> Tensor:
        """Largest residual that will do for each value: relative, and not below what counts as zero."""
        size = float(values.abs().max())
        return (max(self.residual, 0.0) * values.abs()).clamp_min(_tolerance(size, noise))

    def _overlooked(self, space: KrylovSpace, values: Tensor) -> tuple[float, float]:
        """Bounds of the probability that an eigenvalue beyond the ends, or just beyond the last wanted value, is missing.

        Its component in the start would be below exp(-gain), and of a random start only a part √(2d/π) of that is as
        small (van Dorsselaer, Hochstenbach and van der Vorst 2000).
        """
        bars = self._bars(values, space.noise)
        odds = 0.5 * math.log(2 * space.operator.dim / (math.pi * (RANDOM_SHARE if self.warm else 1.0)))

        def bound(beyond: Tensor) -> float:
            return max(math.exp(min(0.0, odds - space.log_gain(point, values))) for point in beyond.tolist())

        last = len(values) - 1
        above = [last, max(0, last + 1 - max(1, self.top))]
        below = [0, min(last, max(1, self.bottom) - 1)]
        return bound(values[above] + bars[above]), bound(values[below] - bars[below])


def _tolerance(size: float, noise: float) -> float:
    return max(CERTAIN * size, NOISE_FACTOR * noise)
