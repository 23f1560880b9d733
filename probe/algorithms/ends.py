"""Both ends of a spectrum as one Krylov space shows them: what is wanted of it, whether that is found, and what to report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from lsmon.protocol.frames import Ritz

from .bounds import end_errors
from .krylov import KrylovSpace

CARRIED = 0.1
"""Largest bound of the probability that a value which has not appeared lies beyond a reported residual, ..."""

REACH = 0.2
"""... within this part of λ_min below it. With 0.3, and a twentieth, three residuals of 228 measurements were too small,
so none."""

KEPT = 5
"""Values reported from each end."""

ACCURACY = 1e-2
"""Largest estimated error, relative to the value, that counts as converged: batches differ by ten times that. Of 142
measurements that ended so, on 84 networks, nine were more than that off, by 6 % at most and within their residual: λ_min in
a cluster, or a fifth value whose neighbour had not come apart from it yet."""

DOUBTFUL = 0.3
"""A residual above this part of the value leaves even its order among the others open, whatever the estimate says."""

CERTAIN = 1e-4
"""A Ritz value must be below this times |H| to count as negative (and below 20 times the noise of the products)."""

NOISE_FACTOR = 20.0

ROUNDING = 16.0
"""Residuals shrink below any bound in exact arithmetic; a product in float32 was wrong by up to 9 roundings of |H|."""

OVERLOOKED = 0.3
"""Largest bound of the probability that a value beyond an end has not appeared yet."""

NARROW = 0.02
"""Gaps between two wanted values, relative to them, in which it is not asked: one that is missing there changes little.
Of 64 runs on networks at and near their start nine gave wrong values before it was asked (one with a gap of 3 % after)."""

BEYOND_TOP, BEYOND_BOTTOM = 0.1, 0.05
"""How far beyond the outermost value that is asked, relative to it. Closer costs products (at 0.03 two more); wider,
λ_min was off by 3 % once in 40 runs, where it is a hundredth of λ_max and one of a cluster."""


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
    """Bound of the probability that an eigenvalue well above ``top[0]`` (by ``Ends.unseen``) was overlooked."""
    below: float
    """The same for one a twentieth below ``bottom[0]``."""


@dataclass(frozen=True, slots=True)
class Ends:
    """``top`` largest and ``bottom`` smallest values, wanted to ``accuracy`` relative to each."""

    top: int
    bottom: int
    accuracy: float
    random_share: float
    """Part of the start's squared norm that is random: it alone bounds what may have been overlooked."""
    unseen: float = BEYOND_TOP
    """How far above the largest value it is asked what may have been overlooked, relative to it."""
    overlooked: float = OVERLOOKED
    """Largest bound of the probability that something was."""
    copies: bool = False
    """The basis is not orthogonal, and converged values appear again: only the outermost of an end is reported."""

    def found(self, space: KrylovSpace) -> bool:
        """Nothing wanted is missing; to be asked after each product."""
        if space.ended:
            return True
        if self.accuracy <= 0 or space.taken < self.top + self.bottom:
            return False
        values, residuals = _ritz(space)
        m, floor = len(values), _tolerance(values, space.noise)
        wanted = [*range(self.bottom), *range(m - self.top, m)]
        if any(not residuals[i] <= max(DOUBTFUL * abs(values[i]), floor) for i in wanted):
            return False
        if max(self._overlooked(space, values)) > self.overlooked or any(
            map(any, self._hidden(space, values))
        ):
            return False
        converged = self._converged(values, residuals, space.noise)
        return all(converged[i] for i in wanted)

    def extremes(self, space: KrylovSpace) -> Extremes:
        values, residuals = _ritz(space)
        eps = torch.finfo(space.operator.dtype).eps * math.sqrt(1 + space.restarts)  # each rounds once more
        rounding = max(space.noise, (ROUNDING * eps + space.doubt) * _size(values))
        tolerance = _tolerance(values, space.noise)
        above, below = self._overlooked(space, values)
        converged = self._converged(values, residuals, space.noise)
        pairs = [
            Ritz(value=value, residual=residual + rounding, converged=good)
            for value, residual, good in zip(values, residuals, converged, strict=True)
        ]
        # a Ritz value is known to the rounding only, and what is certified must be true
        negative = sum(pair.value + rounding < -tolerance for pair in pairs)
        above_gaps, below_gaps = self._hidden(space, values)
        high, low = (1, 1) if self.copies else (max(KEPT, self.top), max(KEPT, self.top, self.bottom))
        lowest = _doubted(pairs[:low], self.bottom, below_gaps)
        if lowest and self.bottom:  # it lies in a cluster, and nothing known of the start points at it
            beyond = -REACH * abs(lowest[0].value)
            lowest = (self._carrying(space, values, lowest[0], beyond), *lowest[1:])
        return Extremes(
            top=self._apart(space, values, _doubted(pairs[::-1][:high], self.top, above_gaps), self.top),
            bottom=self._apart(space, values, lowest, self.bottom),
            negative_at_least=min(negative, 1) if self.copies else negative,
            tolerance=tolerance,
            noise=space.noise,
            hvps=space.products,
            memory=space.most * space.operator.dim * torch.finfo(space.operator.dtype).bits // 8,
            above=above,
            below=below,
        )

    def kept(self, size: int) -> list[int]:
        """Positions of the Ritz vectors that survive a restart: half of them, shared between the wanted ends."""
        half = max(size // 2, self.top + self.bottom + 1)
        low = max(half // 2, self.bottom) if self.bottom else 0
        high = max(half - low, self.top)
        low = min(low, size - 1 - high) if self.bottom else 0
        return [*range(low), *range(size - high, size)]

    def _converged(self, values: Sequence[float], residuals: Sequence[float], noise: float) -> list[bool]:
        """For each Ritz value; those between the ends are not judged."""
        count, floor = max(KEPT, self.top, self.bottom), _tolerance(values, noise)
        low = end_errors(values, residuals, count)
        high = end_errors(values[::-1], residuals[::-1], count)
        errors = [*residuals]
        errors[: len(low)] = low
        for place, error in enumerate(high, 1):
            errors[-place] = min(error, errors[-place])
        return [
            error <= max(self.accuracy * abs(value), noise) or max(abs(value), residual) <= floor
            for value, error, residual in zip(values, errors, residuals, strict=True)
        ]

    def _overlooked(self, space: KrylovSpace, values: Sequence[float]) -> tuple[float, float]:
        """Bounds of the probability that an eigenvalue well beyond the top, or the bottom, has not appeared; 0 where
        nothing is wanted.

        Its component in the start would be below exp(-gain), and of a random start only a part √(2d/π) of that is as
        small (van Dorsselaer, Hochstenbach and van der Vorst 2000); a known part of the start makes that no likelier.
        """
        floor, low, high = _tolerance(values, space.noise), values[0], values[-1]
        above = self._chance(space, values, high + max(self.unseen * abs(high), floor)) if self.top else 0.0
        below = (
            self._chance(space, values, low - max(BEYOND_BOTTOM * abs(low), floor)) if self.bottom else 0.0
        )
        return above, below

    def _hidden(self, space: KrylovSpace, values: Sequence[float]) -> tuple[list[bool], list[bool]]:
        """For each gap between two neighbours among the wanted values of an end, from outside: may there be another?"""

        def gaps(ends: Sequence[float]) -> list[bool]:
            return [
                abs(outer - inner) > NARROW * abs(outer)
                and self._chance(space, values, (outer + inner) / 2) > self.overlooked
                for outer, inner in pairwise(ends)
            ]

        return gaps(values[::-1][: self.top]), gaps(values[: self.bottom])

    def _apart(
        self, space: KrylovSpace, values: Sequence[float], ritz: Sequence[Ritz], wanted: int
    ) -> tuple[Ritz, ...]:
        """Sorted from an end inwards: each of the ``wanted`` but the first carries how far outside of it, to a factor of
        two, another may lie that has not appeared, and would be the one of its place.

        Two neighbours come apart late. Until then one Ritz value stands for both, and its residual soon is small.
        """
        told = list(ritz)
        for place, (outer, inner) in enumerate(pairwise(ritz[:wanted]), 1):
            told[place] = self._carrying(space, values, inner, outer.value - inner.value)
        return tuple(told)

    def _carrying(self, space: KrylovSpace, values: Sequence[float], ritz: Ritz, reach: float) -> Ritz:
        """With how far out of it, of ``reach``, another may lie."""
        while abs(reach) > ritz.residual and (self._chance(space, values, ritz.value + reach / 2) <= CARRIED):
            reach /= 2
        return Ritz(value=ritz.value, residual=max(ritz.residual, abs(reach)), converged=ritz.converged)

    def _chance(self, space: KrylovSpace, values: Sequence[float], point: float) -> float:
        """A bound of the probability that an eigenvalue at ``point`` has not appeared."""
        odds = 0.5 * math.log(2 * space.operator.dim / (math.pi * self.random_share))
        return math.exp(min(0.0, odds - space.log_gain(point, values)))


def _ritz(space: KrylovSpace) -> tuple[list[float], list[float]]:
    """Values, ascending, and residuals."""
    values, _, residuals = space.ritz()
    return values.tolist(), residuals.tolist()


def _size(ascending: Sequence[float]) -> float:
    """|H| as far as it is known."""
    return max(-ascending[0], ascending[-1])


def _tolerance(ascending: Sequence[float], noise: float) -> float:
    """What counts as zero."""
    return max(CERTAIN * _size(ascending), NOISE_FACTOR * noise)


def _doubted(ritz: Sequence[Ritz], wanted: int, hidden: Sequence[bool]) -> tuple[Ritz, ...]:
    """Sorted from an end inwards: what has not converged, or may lie in a gap, makes its neighbours doubtful.

    One of the first ``wanted`` that has not may still move out as far as its residual: whatever it would then overtake
    is not the value of its place either. And before a value has converged a neighbour may be missing, so that it
    belongs to the next place: by interlacing its own lies further out, but not beyond the value outside it.
    """
    known: list[Ritz] = []
    safe = next((gap for gap, may in enumerate(hidden) if may), len(ritz))
    outwards = 1 if len(ritz) < 2 or ritz[0].value >= ritz[1].value else -1
    for place, one in enumerate(ritz):
        rivals = [outwards * r.value + r.residual for r in ritz[place + 1 : wanted] if not r.converged]
        reach = max(rivals, default=-math.inf) - outwards * one.value
        if reach > 0 or place > safe:
            one = Ritz(value=one.value, residual=max(one.residual, reach), converged=False)
        if known and not one.converged:
            reach = abs(known[-1].value - one.value) + known[-1].residual
            one = Ritz(value=one.value, residual=max(one.residual, reach))
        known.append(one)
    return tuple(known)
