"""The latest estimates of a run, and means over them whose errors are those of contiguous blocks.

Neighbouring estimates are not independent (they share a gradient, or an epoch), so the error of their mean is taken
from the means of blocks, and widened by Student's t, as everywhere in the probe: ± 2 errors hold the truth in 95 of
100 repetitions.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

from ..algorithms.estimate import Estimate, estimate

FEWEST = 24
"""A single estimate has a relative deviation of 0.7: fewer than 20 averaged are not worth a number; 8 blocks of 3."""

BLOCKS = 8
"""Fewest blocks of which an error is taken, ..."""
MORE_BLOCKS, LONG = 16, 96
"""... and how many once there are so many estimates: a block of 6 is longer than what neighbours have in common."""

CLEAR = 4.0
"""Errors by which a mean is above zero before one divides by it: at two, a noise scale that is infinite was told, as a
number, in one run of ten."""

RATE_CHANGE = 0.1
"""A window does not span a larger relative change of the learning rate."""


class Window:
    """The last ``longest`` estimates, each a few numbers that belong together."""

    def __init__(self, longest: int) -> None:
        self._rows: deque[Sequence[float]] = deque(maxlen=longest)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, *numbers: float) -> None:
        """One estimate of every quantity; left out as a whole where one of them is not finite."""
        if all(map(math.isfinite, numbers)):
            self._rows.append(numbers)

    def clear(self) -> None:
        self._rows.clear()

    def rows(self, last: int | None = None) -> list[Sequence[float]]:
        """The last so many estimates, or all, the oldest first."""
        return list(self._rows)[-(last or len(self._rows)) :]

    def mean(self, place: int, last: int | None = None) -> Estimate:
        """Mean of the ``place``-th quantity over the last so many estimates, or all. Needs 8 of them."""
        return estimate(self._blocks(lambda rows: _mean(rows, place), last))

    def ratio(self, above: int, below: int, last: int | None = None) -> Estimate | None:
        """Ratio of two window means, its error by the jackknife over blocks; None where the mean below is not certain
        to be positive, so that the ratio has no expectation."""
        bottom = self.mean(below, last)
        if bottom.value <= 2 * bottom.se:
            return None
        tops = self._blocks(lambda rows: _mean(rows, above), last)
        bottoms = self._blocks(lambda rows: _mean(rows, below), last)
        count, top, low = len(tops), math.fsum(tops), math.fsum(bottoms)
        without = [(top - t) / (low - b) for t, b in zip(tops, bottoms, strict=True)]
        ratio = top / low
        return Estimate(ratio, estimate([count * ratio - (count - 1) * each for each in without]).se)

    def clear_ratio(self, above: int, below: int, last: int | None = None) -> Estimate | None:
        """Ratio of two window means by Fieller's interval (1954, J. R. Stat. Soc. B 16), the farther end of which gives the
        error; None where the mean below is not ``CLEAR``: what chance lifted over a lower bar makes the ratio too low."""
        top, bottom = self.mean(above, last), self.mean(below, last)
        if bottom.value <= CLEAR * bottom.se:
            return None
        both = estimate(self._blocks(lambda rows: _mean(rows, above) + _mean(rows, below), last))
        width, own, joint = (2 * top.se) ** 2, (2 * bottom.se) ** 2, (2 * both.se) ** 2
        shared = top.value * bottom.value - (joint - width - own) / 2
        room = bottom.value**2 - own
        root = math.sqrt(max(0.0, shared**2 - room * (top.value**2 - width)))
        ratio = top.value / bottom.value
        return Estimate(ratio, max((shared + root) / room - ratio, ratio - (shared - root) / room) / 2)

    def _blocks(self, of: Callable[[Sequence[Sequence[float]]], float], last: int | None) -> list[float]:
        """The number of each block, the oldest remainder left out."""
        rows = self.rows(last)
        blocks = MORE_BLOCKS if len(rows) >= LONG else BLOCKS
        size = len(rows) // blocks
        first = len(rows) - size * blocks
        return [of(rows[first + i * size : first + (i + 1) * size]) for i in range(blocks)]


def changed(gains: list[float], before: list[float]) -> bool:
    return len(gains) != len(before) or any(
        abs(new - old) > RATE_CHANGE * abs(old) for new, old in zip(gains, before, strict=True)
    )


def _mean(rows: Sequence[Sequence[float]], place: int) -> float:
    return math.fsum(row[place] for row in rows) / len(rows)
