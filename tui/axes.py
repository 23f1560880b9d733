"""Where the ticks go: limits that stand still while data arrives, labels few and round."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

_WIDER = 1.1
"""The width of a column of dots grows by this factor at a time: a curve fills nine tenths of its panel or more, and
is laid out anew only each time the run has grown by a tenth."""
LARGEST = 1e300
"""What is beyond, either way, is drawn at the edge: sums and differences of what is drawn stay finite."""


def nice_above(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least ``value``."""
    power = 10.0 ** math.floor(math.log10(value))
    for item in (1.0, 2.0, 5.0):
        if item * power >= value * (1 - 1e-9):
            return item * power
    return 10 * power


@dataclass(frozen=True, slots=True)
class StepAxis:
    """Steps to columns of dots. A column stands for ``width`` steps, from ``first`` on: a curve grows to the right,
    and nothing already drawn moves until the width takes its next value."""

    first: float
    width: float

    @classmethod
    def over(cls, first: float, last: float, dots: int) -> StepAxis:
        span = max(last - first, 1.0)
        return cls(first, _WIDER ** math.ceil(math.log(span / max(dots - 1, 1), _WIDER)))

    def column(self, step: float) -> int:
        return int((step - self.first) / self.width)

    @classmethod
    def within(cls, first: float, last: float, dots: int, span: float, end: float) -> StepAxis:
        """A window of about ``span`` steps that holds ``end`` near its right edge, on an axis over the whole run.

        It moves by a tenth of itself at a time: what is drawn stands still meanwhile.
        """
        width = cls.over(0.0, span, dots).width
        jump = width * max(dots // 10, 1)
        start = first + jump * math.ceil((end - width * (dots - 1) - first) / jump)
        return cls(max(first, start), width)

    def ticks(self, dots: int, most: int, gap_above: Callable[[float], float] = nice_above) -> list[float]:
        """At most ``most + 1`` round steps within the axis."""
        span = self.width * dots
        gap = gap_above(span / max(most, 1))
        start = math.ceil(self.first / gap) * gap
        return [start + i * gap for i in range(math.floor((self.first + span - start) / gap) + 1)]


UNIT = StepAxis(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class ValueAxis:
    """Values to a height between 0 and 1, with limits rounded outward."""

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]

    @classmethod
    def linear(cls, low: float, high: float, labels: int, *, least: float = 0.0) -> ValueAxis:
        """``least``: the smallest distance of two ticks."""
        low, high = within_reach(low), within_reach(high)
        if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
            margin = abs(low) * 0.1 or 1.0
            low, high = low - margin, high + margin
        gap = max(nice_above((high - low) / 6), least)
        first, last = math.floor(low / gap + 1e-9), math.ceil(high / gap - 1e-9)
        return cls(first * gap, last * gap, False, tuple(i * gap for i in _thinned(first, last, labels)))

    @classmethod
    def logarithmic(cls, low: float, high: float, labels: int) -> ValueAxis:
        """``low`` and ``high`` are positive."""
        low, high = _rounded(within_reach(low), math.floor), _rounded(within_reach(high), math.ceil)
        if high <= low * 1.0001:
            low, high = _rounded(low * 0.45, math.floor), _rounded(high * 2.2, math.ceil)
        decades = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        if len(decades) >= 2:
            chosen = _thinned(decades[0], decades[-1], labels)
            return cls(low, high, True, tuple(10.0**i for i in chosen))
        inner = [10.0**i for i in decades]
        ends = [low, *inner, high] if labels >= 3 else [low, high]
        return cls(low, high, True, tuple(dict.fromkeys(ends)))

    def height(self, value: float) -> float:
        """0 at the bottom, 1 at the top; NaN for what a logarithmic axis cannot show."""
        if self.log:
            if value <= 0:
                return math.nan
            bottom = math.log10(self.low)
            return (math.log10(value) - bottom) / (math.log10(self.high) - bottom)
        return (value - self.low) / (self.high - self.low)


def within_reach(value: float) -> float:
    """The nearest that can be drawn."""
    return min(max(value, -LARGEST), LARGEST)


def _rounded(value: float, towards: object) -> float:
    """To 1, 2 or 5 times a power of ten, down or up."""
    value = max(value, 1e-300)
    exponent = math.floor(math.log10(value) + 1e-12)
    grid = [mantissa * 10.0**power for power in (exponent, exponent + 1) for mantissa in (1, 2, 5)]
    if towards is math.floor:
        return max(item for item in grid if item <= value * (1 + 1e-9))
    return min(item for item in grid if item >= value * (1 - 1e-9))


def _thinned(first: int, last: int, labels: int) -> list[int]:
    """Multiples of 1, 2, 5, 10, ... between two integers, at most ``labels`` of them but at least one."""
    for gap in (1, 2, 3, 5, 10, 20, 50, 100, 200):
        chosen = [i for i in range(first, last + 1) if i % gap == 0]
        if len(chosen) <= max(labels, 1):
            return chosen
    return [first]
