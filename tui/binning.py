"""Tracks binned to the columns of dots of a plot; from one drawing to the next only what is new is binned."""

from __future__ import annotations

import weakref
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .axes import UNIT, StepAxis
from .buckets import Bucket, Buckets
from .columns import Columns, Floats
from .view import Track

_RARE = 20.0
"""A stretch without samples that is so many times their usual distance is a gap: a suspended run, or frames that were
lost. A sensor that waits for its budget comes at distances that differ by ten."""

_FEW = 20
"""Buckets that are put one by one sooner than at once."""


class Binning:
    """Minimum, maximum and mean of a track in each column of dots: O(buckets) the first time and where the axis is
    another, O(new buckets) after that.

    Where several attempts were at the same step the mean is that of the latest, and the others lie between minimum and
    maximum. Where errors came with the samples, minimum and maximum reach at least one error from the mean.
    """

    def __init__(self) -> None:
        self._axis, self._sums = UNIT, _Sums.of(0)
        self._rows: weakref.ref[array[float]] | None = None
        """The rows of which ``closed`` are in the sums; not held, since a series may have left them behind."""
        self._closed = 0

    def columns(self, track: Track, axis: StepAxis, dots: int) -> Columns:
        """The same as of a Binning that never saw anything, to the last bit."""
        buckets = track.buckets
        same = self._rows is not None and self._rows() is buckets.reals and self._closed <= buckets.closed
        if not same or axis != self._axis or dots != len(self._sums.low):
            self._axis, self._sums, self._closed = axis, _Sums.of(dots), 0
            self._rows = weakref.ref(buckets.reals)
        if buckets.closed - self._closed > _FEW:
            self._sums.add(buckets, self._closed, axis)
        else:
            for at in range(self._closed, buckets.closed):
                self._sums.put(buckets.at(at), axis)
        self._closed = buckets.closed
        sums = self._sums.copy()
        if buckets.open is not None:
            sums.put(buckets.open, axis)
        if sums.widest > axis.width and len(buckets) > 2:
            _mark_gaps(sums.broken, buckets, axis)
        return sums.columns(doubted=buckets.doubted)


class Binnings:
    """A Binning for each of the tracks that are drawn together."""

    def __init__(self) -> None:
        self._each: dict[str, Binning] = {}

    def columns(self, track: Track, axis: StepAxis, dots: int) -> Columns:
        if (binning := self._each.get(track.name)) is None:
            binning = self._each[track.name] = Binning()
        return binning.columns(track, axis, dots)


def binned(track: Track, axis: StepAxis, dots: int) -> Columns:
    """For a track that is drawn once."""
    return Binning().columns(track, axis, dots)


@dataclass(slots=True)
class _Sums:
    """Of the buckets so far, by column."""

    low: Floats
    high: Floats
    error: Floats
    """Below 0 where none came."""
    latest: NDArray[np.int64]
    """The latest attempt with a finite sample, ..."""
    number: Floats
    """... how many such samples it has, ..."""
    total: Floats
    """... and their sum."""
    broken: NDArray[np.bool_]
    step: float = np.inf
    """Where the last bucket ends."""
    widest: float = 0.0
    """The longest way between two buckets."""

    @classmethod
    def of(cls, dots: int) -> _Sums:
        return cls(
            np.full(dots, np.inf), np.full(dots, -np.inf), np.full(dots, -1.0), np.zeros(dots, dtype=np.int64),
            np.zeros(dots), np.zeros(dots), np.zeros(dots, dtype=np.bool_),
        )  # fmt: skip

    def copy(self) -> _Sums:
        return _Sums(
            self.low.copy(), self.high.copy(), self.error.copy(), self.latest.copy(),
            self.number.copy(), self.total.copy(), self.broken.copy(), self.step, self.widest,
        )  # fmt: skip

    def add(self, buckets: Buckets, begin: int, axis: StepAxis) -> None:
        """The closed buckets from this one on."""
        (firsts, steps, _, lows, highs, totals, errors), (counts, attempts) = buckets.columns(begin)
        self.widest = max(self.widest, float(firsts[0] - self.step))
        if len(steps) > 1:
            self.widest = max(self.widest, float((firsts[1:] - steps[:-1]).max()))
        self.step = float(steps[-1])
        at = ((steps - axis.first) / axis.width).astype(np.int64)
        dots = len(self.low)
        if at.min() < 0 or at.max() >= dots:
            inside = (at >= 0) & (at < dots)
            at, counts, attempts = at[inside], counts[inside], attempts[inside]
            lows, highs, totals, errors = lows[inside], highs[inside], totals[inside], errors[inside]
            if not len(at):
                return
        if not counts.all():
            self.broken[at[counts == 0]] = True
        np.minimum.at(self.low, at, lows)
        np.maximum.at(self.high, at, highs)
        if buckets.doubted:
            np.maximum.at(self.error, at, errors)
        # An attempt after the other, as they come.
        cuts = (np.flatnonzero(attempts[1:] != attempts[:-1]) + 1).tolist()
        for left, right in zip((0, *cuts), (*cuts, len(at)), strict=True):
            part = slice(left, right)
            self._count(int(attempts[left]), at[part], counts[part], totals[part])

    def _count(self, attempt: int, at: NDArray[np.int64], counts: NDArray[np.int64], totals: Floats) -> None:
        known = self.latest[at]
        if (known != attempt).any():
            first = at[(known < attempt) & (counts > 0)]
            self.latest[first] = attempt
            self.number[first] = self.total[first] = 0.0
            chosen = self.latest[at] == attempt
            at, counts, totals = at[chosen], counts[chosen], totals[chosen]
        np.add.at(self.number, at, counts)
        np.add.at(self.total, at, totals)

    def put(self, bucket: Bucket, axis: StepAxis) -> None:
        """One more bucket."""
        (first, step, _, low, high, total, error), (count, attempt) = bucket
        self.widest, self.step = max(self.widest, first - self.step), step
        at = axis.column(step)
        if not 0 <= at < len(self.low):
            return
        if not count:
            self.broken[at] = True
            return
        self.low[at], self.high[at] = min(self.low[at], low), max(self.high[at], high)
        self.error[at] = max(self.error[at], error)
        if attempt > self.latest[at]:
            self.latest[at], self.number[at], self.total[at] = attempt, 0.0, 0.0
        if attempt == self.latest[at]:
            self.number[at] += count
            self.total[at] += total

    def columns(self, *, doubted: bool) -> Columns:
        """What they come to; the sums are used up."""
        empty = self.number == 0
        means, low, high = np.full(len(empty), np.nan), self.low, self.high
        np.divide(self.total, self.number, out=means, where=~empty)
        low[empty] = high[empty] = np.nan
        if doubted:
            told = self.error >= 0
            told &= ~empty
            low[told] = np.minimum(low[told], means[told] - self.error[told])
            high[told] = np.maximum(high[told], means[told] + self.error[told])
        self.broken &= empty
        return Columns(means, low, high, self.broken)


def _mark_gaps(broken: NDArray[np.bool_], buckets: Buckets, axis: StepAxis) -> None:
    """Between two buckets that are much further apart than buckets of this track usually are."""
    firsts, steps = np.frombuffer(buckets.real(0)), np.frombuffer(buckets.real(1))
    apart = firsts[1:] - steps[:-1]
    middle = len(apart) // 2
    typical = float(np.partition(apart, middle)[middle])  # the median, at a fifth of what np.median takes
    wide = np.flatnonzero(apart > _RARE * max(typical, axis.width / _RARE))
    for left, right in zip(steps[wide].tolist(), firsts[wide + 1].tolist(), strict=True):
        start, end = axis.column(left) + 1, axis.column(right)
        if end > 0 and start < len(broken):
            broken[max(start, 0) : end] = True
