"""A track binned to the columns of dots of a plot: what each column has to show, and where nothing may be drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .axes import StepAxis
from .view import Track

Floats = NDArray[np.float64]

_RARE = 20.0
"""A stretch without samples that is so many times their usual distance is a gap: a suspended run, or frames that were
lost. A sensor that waits for its budget comes at distances that differ by ten."""


@dataclass(frozen=True, slots=True)
class Columns:
    """``means``, ``lows``, ``highs`` of shape (columns,), NaN where nothing is."""

    means: Floats
    lows: Floats
    highs: Floats
    broken: NDArray[np.bool_]
    """Columns over which no line may be drawn: they hold non-finite samples only, or lie in a gap."""


def binned(track: Track, axis: StepAxis, dots: int) -> Columns:
    """Minimum, maximum and mean of a track in each column of dots: O(buckets).

    Where several attempts were at the same step the mean is that of the latest, and the others lie between minimum and
    maximum. Where errors came with the samples, minimum and maximum reach at least one error from the mean.
    """
    (firsts, steps, _, lows, highs, totals, errors), (counts, attempts) = track.buckets.columns()
    at = ((steps - axis.first) / axis.width).astype(np.int64)
    broken = np.zeros(dots, dtype=np.bool_)
    _mark_gaps(broken, firsts, steps, axis)
    if len(at) and (at.min() < 0 or at.max() >= dots):
        inside = (at >= 0) & (at < dots)
        at, counts, attempts = at[inside], counts[inside], attempts[inside]
        lows, highs, totals, errors = lows[inside], highs[inside], totals[inside], errors[inside]
    if not counts.all():
        broken[at[counts == 0]] = True
    low, high = np.full(dots, np.inf), np.full(dots, -np.inf)
    np.minimum.at(low, at, lows)
    np.maximum.at(high, at, highs)
    error = np.full(dots, -1.0)
    if track.buckets.doubted:
        np.maximum.at(error, at, errors)
    if len(at) and attempts[0] != attempts[-1]:
        latest = np.zeros(dots, dtype=np.int64)
        np.maximum.at(latest, at, np.where(counts > 0, attempts, 0))
        chosen = attempts == latest[at]
        at, counts, totals = at[chosen], counts[chosen], totals[chosen]
    number = np.bincount(at, weights=counts, minlength=dots)
    total = np.bincount(at, weights=totals, minlength=dots)
    filled = number > 0
    means = np.full(dots, np.nan)
    np.divide(total, number, out=means, where=filled)
    low[~filled] = high[~filled] = np.nan
    if track.buckets.doubted:
        told = filled & (error >= 0)
        low[told] = np.minimum(low[told], means[told] - error[told])
        high[told] = np.maximum(high[told], means[told] + error[told])
    broken &= ~filled
    return Columns(means, low, high, broken)


def _mark_gaps(broken: NDArray[np.bool_], firsts: Floats, steps: Floats, axis: StepAxis) -> None:
    """Between two buckets that are much further apart than buckets of this track usually are."""
    if len(steps) < 3:
        return
    apart = firsts[1:] - steps[:-1]
    if apart.max() <= axis.width:  # as in most curves: nothing is wide on the screen
        return
    middle = len(apart) // 2
    typical = float(np.partition(apart, middle)[middle])  # the median, at a fifth of what np.median takes
    wide = np.flatnonzero(apart > _RARE * max(typical, axis.width / _RARE))
    for left, right in zip(steps[wide].tolist(), firsts[wide + 1].tolist(), strict=True):
        start, end = axis.column(left) + 1, axis.column(right)
        if end > 0 and start < len(broken):
            broken[max(start, 0) : end] = True


def smoothed(curve: Columns, radius: float) -> Columns:
    """The means averaged over their neighbours, with the weights of a Gaussian of so many columns; minimum and maximum
    stay, so that what is smoothed away is still seen behind. Nothing is averaged into columns without samples."""
    if radius <= 0:
        return curve
    reach = min(int(np.ceil(3 * radius)), len(curve.means))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    there = np.isfinite(curve.means)
    total = np.convolve(np.where(there, curve.means, 0.0), weights)[reach:-reach]
    weight = np.convolve(there.astype(np.float64), weights)[reach:-reach]
    means = np.full(len(there), np.nan)
    np.divide(total, weight, out=means, where=there)
    return replace(curve, means=means)


def usual(values: Floats) -> tuple[float, float]:
    """Least and largest of the finite values that are no outliers: within three interquartile ranges of the quartiles.

    Tukey 1977, Exploratory Data Analysis: "far out" begins there. All, where half of them are equal.
    """
    values = values[np.isfinite(values)]
    lower, upper = np.percentile(values, (25.0, 75.0))
    reach = 3.0 * (upper - lower)
    within = values[(values >= lower - reach) & (values <= upper + reach)] if reach > 0 else values
    return float(within.min()), float(within.max())


def bridged(curve: Columns) -> Floats:
    """The means with straight lines over columns without samples, but not over non-finite ones."""
    at = np.flatnonzero(~np.isnan(curve.means))
    if len(at) == 0:
        return curve.means
    between = np.arange(len(curve.means))
    values = np.interp(between, at, curve.means[at], left=np.nan, right=np.nan)
    if curve.broken.any():
        # Interpolation across a NaN would invent a finite past: the whole hole stays open.
        before = np.searchsorted(at, between, side="right")
        holes = np.unique(before[curve.broken])
        values[np.isin(before, holes) & np.isnan(curve.means)] = np.nan
    return values
