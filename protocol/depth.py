"""The trend of a network's scale with depth: what initialisation and normalisation are there to keep level.

Second moments of activations multiply from layer to layer, so their logarithm is a line over depth; He et al. 2015,
arXiv:1502.01852, section 2.2, keep its slope at zero.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

FEWEST = 4
"""Layers of which a line says something."""


class Trend(NamedTuple):
    slope: float
    """Dex (factors of ten) a layer, of the second moment."""
    layers: int
    typical: float = math.nan
    """Median of the steps from one layer to the next: a single layer that blocks, such as a dead one, is no trend."""
    gone: int = 0
    """Layers before the first and behind the last that are exactly zero: there it went on until nothing was left."""

    @property
    def total(self) -> float:
        """Dex from the first of these layers to the last."""
        return self.slope * (self.layers - 1)


def trend(moments: Sequence[float]) -> Trend | None:
    """Least squares through log10 of the second moments, input side first, where they are positive and finite; None
    with fewer than four. What overflowed or underflowed is left out."""
    points = [(i, math.log10(m)) for i, m in enumerate(moments) if 0.0 < m < math.inf]
    if len(points) < FEWEST:
        return None
    middle = math.fsum(i for i, _ in points) / len(points)
    spread = math.fsum((i - middle) ** 2 for i, _ in points)
    slope = math.fsum((i - middle) * y for i, y in points) / spread
    steps = [(after - before) / (j - i) for (i, before), (j, after) in pairwise(points)]
    first, last = points[0][0], points[-1][0]
    gone = [*moments[:first], *moments[last + 1 :]].count(0.0)
    return Trend(slope, last - first + 1, statistics.median(steps), gone)
