"""What detectors keep of a series in O(1): a smoothed level, and how much it scatters from one sample to the next."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

SIGMA_OF_MEDIAN = 1.4826 / math.sqrt(2)
"""From the median absolute difference of neighbours to the standard deviation of one, for normal noise."""


LARGEST = 1e150
"""Beyond it (and for NaN) levels and squares would overflow; ``Nonfinite`` has the word by then."""

NOISE_WINDOW = 40
"""Samples from whose differences the noise is taken: its median is known to a fifth by then."""


class Smooth:
    """An exponential mean that starts at the first value."""

    __slots__ = ("memory", "value")

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self.value = math.nan

    def add(self, value: float) -> float:
        """The level after this value; values must be finite."""
        before = self.value
        self.value = value if math.isnan(before) else before + (1 - self.memory) * (value - before)
        return self.value


class Middle:
    """Median of the last three values: one outlier does not move it, and a fall of any rate reaches it one value later.

    A mean is late by as long as what falls by factors goes on falling: it holds what was largest.

    >>> level = Middle()
    >>> [level.add(value) for value in (8.0, 4.0, 2.0, 100.0, 1.0)]
    [8.0, 6.0, 4.0, 4.0, 2.0]
    """

    __slots__ = ("_last", "value")

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=3)
        self.value = math.nan

    def add(self, value: float) -> float:
        """The level after this value; values must be finite."""
        self._last.append(value)
        self.value = median(self._last)
        return self.value


class Falling:
    """An exponential mean that no fall leaves behind: where the median of the last three is below it, it is that.

    A first value from before the training is many times the next ones, and would be in the mean for ten of them.

    >>> level = Falling(0.6)
    >>> [round(level.add(value), 2) for value in (8.0, 1.0, 1.0, 1.0, 2.0)]
    [8.0, 4.5, 1.0, 1.0, 1.0]
    """

    __slots__ = ("_mean", "_middle")

    def __init__(self, memory: float) -> None:
        self._mean, self._middle = Smooth(memory), Middle()

    @property
    def value(self) -> float:
        return self._mean.value

    def add(self, value: float) -> float:
        """The level after this value; values must be finite."""
        self._mean.value = min(self._mean.add(value), self._middle.add(value))
        return self._mean.value


class Scatter:
    """Standard deviation of the noise, from the last differences of neighbours: blind to slow drifts, robust to jumps."""

    __slots__ = ("_differences", "_last")

    def __init__(self, window: int = NOISE_WINDOW) -> None:
        self._differences: deque[float] = deque(maxlen=window)
        self._last = math.nan

    def add(self, value: float) -> None:
        if not math.isnan(self._last):
            self._differences.append(abs(value - self._last))
        self._last = value

    @property
    def sigma(self) -> float:
        return SIGMA_OF_MEDIAN * median(self._differences) if self._differences else 0.0


class Between:
    """The level of a series that is logged often, taken where another is: the level of its means since the last time.

    So it is the same however often the series is logged in between.
    """

    __slots__ = ("_count", "_level", "_sum", "fresh")

    def __init__(self, level: Smooth | Middle | Falling) -> None:
        self._level = level
        self.fresh = math.nan
        """The mean since the last time, as it is."""
        self._sum, self._count = 0.0, 0

    @property
    def value(self) -> float:
        return self._level.value

    def add(self, value: float) -> None:
        self._sum, self._count = self._sum + value, self._count + 1

    def take(self) -> float:
        """The level now; with nothing new it stays."""
        if self._count:
            self.fresh = self._sum / self._count
            self._level.add(self.fresh)
            self._sum, self._count = 0.0, 0
        return self._level.value
