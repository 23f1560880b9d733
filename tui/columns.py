"""What each column of dots of a plot has to show, and where nothing may be drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .axes import LARGEST

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """``means``, ``lows``, ``highs`` of shape (columns,), NaN where nothing is."""

    means: Floats
    lows: Floats
    highs: Floats
    broken: NDArray[np.bool_]
    """Columns over which no line may be drawn: they hold non-finite samples only, or lie in a gap."""


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
    values = np.clip(values[np.isfinite(values)], -LARGEST, LARGEST)
    lower, upper = np.percentile(values, (25.0, 75.0))
    reach = 3.0 * (upper - lower)
    within = values[(values >= lower - reach) & (values <= upper + reach)] if reach > 0 else values
    return float(within.min()), float(within.max())


def bridged(curve: Columns) -> Floats:
    """The means with straight lines over columns without samples, but not over non-finite ones."""
    at = np.flatnonzero(~np.isnan(curve.means))
    if len(at) == 0 or len(at) == at[-1] - at[0] + 1:  # none, or none without samples in between
        return curve.means
    between = np.arange(len(curve.means))
    values = np.interp(between, at, curve.means[at], left=np.nan, right=np.nan)
    if curve.broken.any():
        # Interpolation across a NaN would invent a finite past: the whole hole stays open.
        before = np.searchsorted(at, between, side="right")
        holes = np.unique(before[curve.broken])
        values[np.isin(before, holes) & np.isnan(curve.means)] = np.nan
    return values
