"""One quantity over a whole run in bounded memory: buckets that double in width when there are too many.

A function of the sequence of samples alone, so that a replay folds to what the live screen had.
"""

from __future__ import annotations

import math
from array import array

from .view import Track

CAP = 4096
"""Buckets a series, an even number so that equal ones pair off without a rest. Ten times the dots of a curve on a screen of 200 columns, 300 KB."""


_Bucket = tuple[float, float, float, float, float, float, int, int]
"""First step, last step, wall, min, max, sum, count, attempt."""


class Series:
    """Samples, or stretches of them already folded, in; a Track of at most ``cap`` buckets out."""

    __slots__ = (
        "_attempt", "_attempts", "_cap", "_counts", "_error", "_first", "_firsts", "_high", "_highs", "_low",
        "_lows", "_n", "_name", "_odd", "_odd_step", "_odd_total", "_step", "_steps", "_stride", "_total",
        "_totals", "_track", "_value", "_value_step", "_wall", "_walls", "_words",
    )  # fmt: skip

    def __init__(self, name: str, cap: int = CAP) -> None:
        self._name, self._cap, self._stride = name, cap, 1
        self._firsts, self._steps, self._walls = array("d"), array("d"), array("d")
        self._lows, self._highs, self._totals = array("d"), array("d"), array("d")
        self._counts, self._attempts = array("q"), array("q")
        self._odd_total, self._odd_step = 0, 0
        self._value, self._value_step = math.nan, 0
        self._error, self._words = math.nan, ""
        self._attempt = 0
        self._track: Track | None = None
        self._open(0)

    def _open(self, attempt: int) -> None:
        self._attempt = attempt
        self._first = self._step = self._wall = 0.0
        self._n = self._odd = 0
        self._low, self._high, self._total = math.inf, -math.inf, 0.0

    def add(self, step: int, wall: float, attempt: int, value: float, error: float, words: str) -> None:
        """One sample with its doubt (``error`` is NaN when none came with it)."""
        self._note_odd(step, not math.isfinite(value))
        self._value, self._value_step, self._error, self._words = value, step, error, words
        if math.isfinite(value):
            self._merge(step, step, wall, attempt, 1, value, value, value, 0)
        else:
            self._merge(step, step, wall, attempt, 0, math.inf, -math.inf, 0.0, 1)

    def add_folded(
        self,
        first: int,
        step: int,
        wall: float,
        attempt: int,
        row: tuple[int, float, float, float, float, int],
    ) -> None:
        """A stretch of samples: (finite samples, min, max, mean, last finite, non-finite samples)."""
        count, low, high, mean, last, odd = row
        self._note_odd(first, odd > 0)
        self._value_step, self._error, self._words = step, math.nan, ""
        if count > 0:
            self._value = last
            self._merge(first, step, wall, attempt, count, low, high, mean * count, odd)
        elif odd > 0:
            self._value = math.nan
            self._merge(first, step, wall, attempt, 0, math.inf, -math.inf, 0.0, odd)

    def _note_odd(self, step: int, odd: bool) -> None:
        """Where a stretch of non-finite samples begins."""
        if odd and (math.isfinite(self._value) or not self._odd_total):
            self._odd_step = step

    def _merge(
        self, first: int, step: int, wall: float, attempt: int,
        count: int, low: float, high: float, total: float, odd: int,
    ) -> None:  # fmt: skip
        self._track = None
        if attempt != self._attempt:
            self._close(attempt)
        if not self._n and not self._odd:
            self._first = first
        self._step, self._wall = step, wall
        self._n += count
        self._total += total
        self._low = min(self._low, low)
        self._high = max(self._high, high)
        if odd:
            self._odd += odd
            self._odd_total += odd
        if self._n + self._odd >= self._stride:
            self._close(attempt)

    def _close(self, attempt: int) -> None:
        if self._n or self._odd:
            self._append(
                (
                    self._first,
                    self._step,
                    self._wall,
                    self._low,
                    self._high,
                    self._total,
                    self._n,
                    self._attempt,
                )
            )
        self._open(attempt)
        while len(self._steps) >= self._cap:
            self._double()

    def _append(self, bucket: _Bucket) -> None:
        for column, item in zip(self._doubles(), bucket[:6], strict=True):
            column.append(item)
        self._counts.append(bucket[6])
        self._attempts.append(bucket[7])

    def _doubles(self) -> tuple[array[float], ...]:
        return self._firsts, self._steps, self._walls, self._lows, self._highs, self._totals

    def _double(self) -> None:
        """Twice the stride: neighbours of one attempt join while they hold fewer samples than it."""
        self._stride *= 2
        # So many attempts that they alone exceed the cap: then they join as well.
        across = self._stride > sum(self._counts) + self._odd_total
        rows: list[_Bucket] = list(zip(*self._doubles(), self._counts, self._attempts, strict=True))
        for column in self._doubles():
            del column[:]
        del self._counts[:], self._attempts[:]
        held = rows[0]
        for row in rows[1:]:
            # A bucket of non-finite samples only counts as one sample here.
            if max(held[6], 1) + max(row[6], 1) <= self._stride and (across or held[7] == row[7]):
                held = (
                    held[0], row[1], row[2], min(held[3], row[3]), max(held[4], row[4]), held[5] + row[5],
                    held[6] + row[6], row[7],
                )  # fmt: skip
            else:
                self._append(held)
                held = row
        self._append(held)

    def track(self) -> Track:
        """The frozen state; the same object as long as nothing was added."""
        if self._track is None:
            tail = [array("d", [item]) for item in (self._first, self._step, self._wall)]
            tail += [array("d", [item]) for item in (self._low, self._high, self._total)]
            opened = bool(self._n or self._odd)
            firsts, steps, walls, lows, highs, totals = (
                (column + end if opened else column).tobytes()
                for column, end in zip(self._doubles(), tail, strict=True)
            )
            counts = (self._counts + array("q", [self._n]) if opened else self._counts).tobytes()
            self._track = Track(
                self._name, firsts, steps, walls, lows, highs, totals, counts,
                value=self._value, step=self._value_step, error=self._error, words=self._words,
                odd=self._odd_total, odd_step=self._odd_step,
            )  # fmt: skip
        return self._track
