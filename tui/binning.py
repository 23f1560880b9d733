"""Tracks binned to the columns of dots of a plot; from one drawing to the next only what is new is binned."""

from __future__ import annotations

import math
import weakref
from array import array

import numpy as np
from numpy.typing import NDArray

from .axes import UNIT, StepAxis, within_reach
from .buckets import Bucket, Buckets
from .columns import Columns
from .view import Track

_RARE = 50.0
"""A stretch without samples that is so many times their usual distance is a gap: a suspended run, or frames that were
lost. A sensor that waits for its budget, as after a dear measurement, comes at distances that differ by up to 45."""
_APART = 10.0
"""And so many times what buckets usually span: one that was folded elsewhere reaches over frames without a sample of
this track, and one of them may have none."""

_FEW = 100
"""Buckets that are put one by one sooner than at once."""

_Sum = tuple[float, float, float, int, float, float, bool]
"""Of the buckets in a column: minimum, maximum, largest error (below 0 where none came), latest attempt with a finite
sample, how many such samples it has, their sum, and whether a bucket had none that is finite."""
_NOTHING: _Sum = (math.inf, -math.inf, -1.0, 0, 0.0, 0.0, False)


class Binning:
    """Minimum, maximum and mean of a track in each column of dots: O(buckets) the first time and where the axis is
    another, O(new buckets) after that.

    Where several attempts were at the same step the mean is that of the latest, and the others lie between minimum and
    maximum. Where errors came with the samples, minimum and maximum reach at least one error from the mean.
    """

    def __init__(self) -> None:
        self._rows: weakref.ref[array[float]] | None = None
        """The rows of which ``_closed`` are in the sums; not held, since a series may have left them behind."""
        self._begin(UNIT, 0)

    def _begin(self, axis: StepAxis, dots: int) -> None:
        self._axis, self._dots, self._closed = axis, dots, 0
        self._sums = [_NOTHING] * dots
        means, lows, highs = np.full((3, dots), np.nan)
        self._shown = Columns(means, lows, highs, np.zeros(dots, dtype=np.bool_))
        self._open_at = -1
        """Column of the bucket that was being filled at the last drawing."""
        self._end, self._widest = math.inf, 0.0
        """Where the last bucket ends, and the longest way between two."""

    def columns(self, track: Track, axis: StepAxis, dots: int) -> Columns:
        """The same as of a Binning that never saw anything, to the last bit. They hold until the next call."""
        buckets = track.buckets
        same = self._rows is not None and self._rows() is buckets.reals and self._closed <= buckets.closed
        if not same or axis != self._axis or dots != self._dots:
            self._begin(axis, dots)
            self._rows = weakref.ref(buckets.reals)
        changed = {self._open_at}
        if buckets.closed - self._closed > _FEW:
            changed.update(self._add(buckets))
        elif buckets.closed > self._closed:
            changed.update(map(self._put, buckets.rows(self._closed)))
        self._closed = buckets.closed
        for at in changed:
            if 0 <= at < dots:
                self._show(at, self._sums[at])
        widest = self._widest
        if buckets.open is not None:
            self._open_at = at = axis.column(buckets.open[0][1])
            widest = max(widest, buckets.open[0][0] - self._end)
            if 0 <= at < dots:
                self._show(at, _with(self._sums[at], buckets.open))
        if widest <= axis.width or len(buckets) < 3:  # as in most curves: no gap would be seen
            return self._shown
        shown = self._shown
        return Columns(shown.means, shown.lows, shown.highs, _gaps(shown, buckets, axis))

    def _put(self, bucket: Bucket) -> int:
        """One more; gives its column, which may lie outside."""
        first, end, *_ = bucket[0]
        self._widest, self._end = max(self._widest, first - self._end), end
        at = self._axis.column(end)
        if 0 <= at < self._dots:
            self._sums[at] = _with(self._sums[at], bucket)
        return at

    def _show(self, at: int, so_far: _Sum) -> None:
        low, high, error, _, number, total, broken = so_far
        if not number:  # the bucket that was being filled here has moved on
            mean = low = high = math.nan
        else:
            low, high = within_reach(low), within_reach(high)
            mean = max(low, min(total / number, high))  # the sum may have overflown
        if error >= 0:
            low, high = min(low, mean - error), max(high, mean + error)
        shown = self._shown
        shown.means[at], shown.lows[at], shown.highs[at] = mean, low, high
        shown.broken[at] = broken and not number

    def _add(self, buckets: Buckets) -> list[int]:
        """All the closed ones that are not in the sums; gives their columns."""
        (firsts, ends, _, lows, highs, totals, errors), (counts, attempts) = buckets.columns(self._closed)
        ways = np.append(firsts[0] - self._end, firsts[1:] - ends[:-1])
        self._widest, self._end = max(self._widest, float(ways.max())), float(ends[-1])
        at = ((ends - self._axis.first) / self._axis.width).astype(np.int64)
        if at.min() < 0 or at.max() >= self._dots:
            inside = (at >= 0) & (at < self._dots)
            at, counts, attempts = at[inside], counts[inside], attempts[inside]
            lows, highs, totals, errors = lows[inside], highs[inside], totals[inside], errors[inside]
            if not len(at):
                return []
        low, high, error, latest, number, total, broken = map(np.array, zip(*self._sums, strict=True))
        broken[at[counts == 0]] = True
        np.minimum.at(low, at, lows)
        np.maximum.at(high, at, highs)
        np.maximum.at(error, at, errors)
        # One attempt after the other, as they come.
        cuts = (np.flatnonzero(attempts[1:] != attempts[:-1]) + 1).tolist()
        for left, right in zip((0, *cuts), (*cuts, len(at)), strict=True):
            here, attempt, finite = at[left:right], attempts[left], counts[left:right] > 0
            first = here[finite & (latest[here] < attempt)]
            latest[first], number[first], total[first] = attempt, 0.0, 0.0
            told = latest[here] == attempt
            np.add.at(number, here[told], counts[left:right][told])
            with np.errstate(over="ignore", invalid="ignore"):
                np.add.at(total, here[told], totals[left:right][told])
        sums = (low, high, error, latest, number, total, broken)
        self._sums = list(zip(*(each.tolist() for each in sums), strict=True))
        columns: list[int] = np.unique(at).tolist()
        return columns


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


def _with(so_far: _Sum, bucket: Bucket) -> _Sum:
    low, high, error, latest, number, total, broken = so_far
    (_, _, _, its_low, its_high, its_total, its_error), (count, attempt) = bucket
    if not count:
        return low, high, error, latest, number, total, True
    if attempt > latest:
        latest, number, total = attempt, 0.0, 0.0
    if attempt == latest:
        number, total = number + count, total + its_total
    return min(low, its_low), max(high, its_high), max(error, its_error), latest, number, total, broken


def _gaps(shown: Columns, buckets: Buckets, axis: StepAxis) -> NDArray[np.bool_]:
    """Broken also between two buckets that are much further apart than buckets of this track usually are."""
    broken = shown.broken.copy()
    firsts, ends = np.frombuffer(buckets.real(0)), np.frombuffer(buckets.real(1))
    apart = firsts[1:] - ends[:-1]
    least = max(_RARE * _median(apart), _APART * _median(ends[1:] - ends[:-1]), axis.width)
    wide = np.flatnonzero(apart > least)
    for left, right in zip(ends[wide].tolist(), firsts[wide + 1].tolist(), strict=True):
        start, end = axis.column(left) + 1, axis.column(right)
        if end > 0 and start < len(broken):
            broken[max(start, 0) : end] = True
    broken &= np.isnan(shown.means)
    return broken


def _median(ways: NDArray[np.float64]) -> float:
    """Of those that are any: several samples of one step are no distance apart. At a fifth of what np.median takes."""
    ways = ways[ways > 0]
    middle = len(ways) // 2
    return float(np.partition(ways, middle)[middle]) if len(ways) else 0.0
