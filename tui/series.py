"""One quantity over a whole run in bounded memory: buckets that double in width when there are too many.

A function of the sequence of samples alone, so that a replay folds to what the live screen had.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from functools import reduce
from itertools import chain, repeat
from operator import add, mul

from .buckets import REALS, WHOLES, Buckets
from .view import Track

CAP = 4096
"""Buckets a series, an even number so that equal ones pair off without a rest. Ten times the dots of a curve on a screen of 200 columns, 330 KB."""

_NONE = -1.0
"""In place of an error where none came: unlike NaN it is less than any, and equal to itself."""

Row = tuple[int, float, float, float, float, int]
"""Finite samples, least, largest, mean, last finite one, samples that are not finite."""
Stretch = tuple[int, int, float, Row]
"""First and last step, wall time of the last, and what is in it."""


class Series:
    """Samples, or stretches of them already folded, in; a Track of at most ``cap`` buckets out."""

    __slots__ = (
        "_attempt", "_cap", "_doubt", "_doubted", "_error", "_first", "_high", "_highest", "_low", "_lowest", "_n",
        "_name", "_odd", "_odd_step", "_odd_total", "_reals", "_step", "_stride", "_total", "_track", "_value", "_value_step", "_wall",
        "_wholes", "_words",
    )  # fmt: skip

    def __init__(self, name: str, cap: int = CAP) -> None:
        self._name, self._cap, self._stride = name, cap, 1
        # Never changed but at their ends: tracks that were given away go on reading them.
        self._reals, self._wholes = array("d"), array("q")
        self._doubted = False
        self._lowest, self._highest = math.inf, -math.inf  # of the closed buckets
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
        self._low, self._high, self._total, self._doubt = math.inf, -math.inf, 0.0, _NONE

    def add(
        self,
        step: int,
        wall: float,
        attempt: int,
        value: float,
        error: float,
        words: str,
    ) -> None:
        """One sample with its doubt (``error`` is NaN when none came with it). What is measured may be of a step long ago:
        then it has its place there, and the newest stays the value."""
        finite = math.isfinite(value)
        if attempt == self._attempt and step < self._value_step:
            if finite:
                self._insert(step, wall, value, error)
            else:
                self._note_odd(step)
                self._odd_total, self._track = self._odd_total + 1, None
            return
        if not finite:
            self._note_odd(step)
        self._value, self._value_step, self._error, self._words = value, step, error, words
        if finite:
            self._merge(step, step, wall, attempt, 1, value, value, value, 0, error)
        else:
            self._merge(step, step, wall, attempt, 0, math.inf, -math.inf, 0.0, 1, math.nan)

    def add_all(
        self, steps: Sequence[int], walls: Sequence[float], attempt: int, values: Sequence[float]
    ) -> None:
        """The same as adding each, without errors and words: quicker, and equal to the last bit. The steps rise."""
        late = attempt == self._attempt and steps[0] < self._value_step
        if late or not all(map(math.isfinite, values)):
            for step, wall, value in zip(steps, walls, values, strict=True):
                self.add(step, wall, attempt, value, math.nan, "")
            return
        if attempt != self._attempt:
            self._close(attempt)
        at = 0
        while at < len(values):
            end = min(at + self._room(), len(values))
            part = values[at:end]
            if self._stride == 1:
                here = steps[at:end]
                rows = zip(here, here, walls[at:end], part, part, part, repeat(_NONE), strict=False)
                self._reals.extend(chain.from_iterable(rows))
                self._wholes.extend((1, attempt) * len(part))
                self._lowest, self._highest = min(self._lowest, *part), max(self._highest, *part)
                self._make_room()
            else:
                if not self._n and not self._odd:
                    self._first = steps[at]
                self._step, self._wall = steps[end - 1], walls[end - 1]
                self._n += len(part)
                self._total = reduce(add, part, self._total)  # in their order: sum() rounds otherwise
                self._low, self._high = min(self._low, *part), max(self._high, *part)
                if self._n + self._odd >= self._stride:
                    self._close(attempt)
            at = end
        self._value, self._value_step, self._error, self._words = values[-1], steps[-1], math.nan, ""
        self._track = None

    def _room(self) -> int:
        """Samples until something happens: a bucket is full, or there are too many."""
        if self._stride == 1:
            return self._cap - len(self._wholes) // WHOLES
        return self._stride - self._n - self._odd

    def add_folded(
        self,
        first: int,
        step: int,
        wall: float,
        attempt: int,
        row: Row,
    ) -> None:
        """A stretch of samples."""
        count, low, high, mean, last, odd = row
        if odd > 0:
            self._note_odd(first)
        self._value_step, self._error, self._words = step, math.nan, ""
        if count > 0:
            self._value = last
            self._merge(first, step, wall, attempt, count, low, high, mean * count, odd, math.nan)
        elif odd > 0:
            self._value = math.nan
            self._merge(first, step, wall, attempt, 0, math.inf, -math.inf, 0.0, odd, math.nan)

    def add_all_folded(self, stretches: Sequence[Stretch], attempt: int) -> None:
        """The same as adding each, to the last bit: quicker where they are buckets by themselves, as are most of a seek."""
        firsts, steps, walls, rows = zip(*stretches, strict=True)
        counts, lows, highs, means, lasts, odds = zip(*rows, strict=True)
        plain = min(counts) >= self._stride and min(odds) == 0
        if plain and attempt != self._attempt:
            self._close(attempt)
        if not plain or self._n or self._odd or len(rows) > self._cap - len(self._wholes) // WHOLES:
            for first, step, wall, row in stretches:
                self.add_folded(first, step, wall, attempt, row)
            return
        if any(odds):
            at = max(index for index, odd in enumerate(odds) if odd)
            if at or math.isfinite(self._value) or not self._odd_total:
                self._odd_step = firsts[at]
            self._odd_total += sum(odds)
        from .joined import rows_of  # not before: the first paint needs no numpy

        totals = tuple(map(mul, means, counts))
        self._reals.frombytes(rows_of("d", firsts, steps, walls, lows, highs, totals, (_NONE,) * len(rows)))
        self._wholes.frombytes(rows_of("q", counts, (attempt,) * len(rows)))
        self._lowest, self._highest = min(self._lowest, *lows), max(self._highest, *highs)
        self._value, self._value_step, self._error, self._words = lasts[-1], steps[-1], math.nan, ""
        self._track = None
        self._make_room()

    def _note_odd(self, step: int) -> None:
        """Where a stretch of non-finite samples begins."""
        if math.isfinite(self._value) or not self._odd_total:
            self._odd_step = step

    def _merge(
        self, first: int, step: int, wall: float, attempt: int,
        count: int, low: float, high: float, total: float, odd: int, error: float,
    ) -> None:  # fmt: skip
        self._track = None
        if attempt != self._attempt:
            self._close(attempt)
        if not self._n and not self._odd:
            if count + odd >= self._stride:  # a bucket by itself, as are most of a seek
                doubt = _NONE
                if error > doubt:  # never true of NaN
                    doubt, self._doubted = error, True
                self._odd_total += odd
                self._put((first, step, wall, low, high, total, doubt), count)
                return
            self._first = first
        self._step, self._wall = step, wall
        self._n += count
        self._total += total
        self._low = min(self._low, low)
        self._high = max(self._high, high)
        if error > self._doubt:  # never true of NaN
            self._doubt, self._doubted = error, True
        if odd:
            self._odd += odd
            self._odd_total += odd
        if self._n + self._odd >= self._stride:
            self._close(attempt)

    def _insert(self, step: int, wall: float, value: float, error: float) -> None:
        """A sample among those of its attempt that have been there; in new arrays, for the old ones go on being read."""
        if self._n and step >= self._first:  # into the bucket that is being filled, whose end it is not
            self._n += 1
            self._total += value
            self._low, self._high, self._track = min(self._low, value), max(self._high, value), None
            if error > self._doubt:
                self._doubt, self._doubted = error, True
            if self._n + self._odd >= self._stride:
                self._close(self._attempt)
            return
        held, at = self._attempt, len(self._wholes) // WHOLES
        while at and self._wholes[(at - 1) * WHOLES + 1] == held and self._reals[(at - 1) * REALS] > step:
            at -= 1
        doubt = _NONE
        if error > doubt:  # never true of NaN
            doubt, self._doubted = error, True
        self._track = None
        reals, wholes = self._reals[:], self._wholes[:]
        row = reals[(at - 1) * REALS : at * REALS] if at and wholes[(at - 1) * WHOLES + 1] == held else None
        if row and (row[1] > step or self._stride > 1):  # it lies in that bucket, or in the gap behind it
            first, last, then, low, high, total, doubted = row
            then = max(then, wall) if step > last else then
            low, high, doubt = min(low, value), max(high, value), max(doubted, doubt)
            row = array("d", (first, max(last, step), then, low, high, total + value, doubt))
            reals[(at - 1) * REALS : at * REALS] = row
            wholes[(at - 1) * WHOLES] += 1
        else:
            reals[at * REALS : at * REALS] = array("d", (step, step, wall, value, value, value, doubt))
            wholes[at * WHOLES : at * WHOLES] = array("q", (1, held))
        self._reals, self._wholes = reals, wholes
        self._lowest, self._highest = min(self._lowest, value), max(self._highest, value)
        self._make_room()

    def _close(self, attempt: int) -> None:
        if self._n or self._odd:
            self._put(self._last(), self._n)
        self._open(attempt)

    def _put(self, reals: tuple[float, ...], count: int) -> None:
        """A bucket that is full, of the attempt that goes on."""
        self._reals.extend(reals)
        self._wholes.extend((count, self._attempt))
        self._lowest, self._highest = min(self._lowest, reals[3]), max(self._highest, reals[4])
        self._make_room()

    def _make_room(self) -> None:
        while len(self._wholes) >= WHOLES * self._cap:
            self._double()

    def _last(self) -> tuple[float, ...]:
        """The bucket that is being filled."""
        return self._first, self._step, self._wall, self._low, self._high, self._total, self._doubt

    def _double(self) -> None:
        """So that there are half as many."""
        from .joined import joined  # not before: the first paint needs no numpy

        self._reals, self._wholes, self._stride = joined(
            self._reals, self._wholes, self._stride, self._odd_total
        )

    def track(self) -> Track:
        """The frozen state; the same object as long as nothing was added."""
        if self._track is None:
            filling = (self._last(), (self._n, self._attempt)) if self._n or self._odd else None
            self._track = Track(
                self._name,
                Buckets(
                    self._reals, self._wholes, len(self._wholes) // WHOLES, filling, self._doubted,
                    min(self._lowest, self._low), max(self._highest, self._high),
                ),
                value=self._value, step=self._value_step, error=self._error, words=self._words,
                odd=self._odd_total, odd_step=self._odd_step,
            )  # fmt: skip
        return self._track
