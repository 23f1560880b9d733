"""Curvatures of all sizes and both signs, as cells of a row or of a column."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence

from lsmon.protocol.frames import Curvature

_DECADES = 4.0
"""What is nearer to zero than the largest curvature by more than this lies in the cells about zero."""

LARGEST = 1e100
"""Curvatures beyond are nonsense, and are not drawn."""


NO_DENSITY = 'no density yet: it is measured with sensors="full" where the budget leaves room'


def usable(item: Curvature) -> bool:
    """Whether there is a density that can be drawn; a file or a peer may say nonsense."""
    grid, mass = item.density_grid, item.density_mass
    return (
        1 < len(grid) == len(mass)
        and all(a < b for a, b in itertools.pairwise(grid))
        and all(math.isfinite(x) and abs(x) < LARGEST for x in grid)
        and all(0 <= m < math.inf for m in mass)
        and math.fsum(mass) > 0
    )


def curvature_edges(spectra: Sequence[Curvature], count: int, outliers: Sequence[float] = ()) -> list[float]:
    """Between which curvatures each of ``count`` cells lies, ``count + 1`` of them, ascending, with zero among them:
    linear about zero and logarithmic beyond (asinh), since an outlier is a thousand times as far out as the bulk is wide."""
    beyond = [value for value in outliers if abs(value) < LARGEST]
    low = min(0.0, *beyond, *(item.density_grid[0] for item in spectra))
    high = max(0.0, *beyond, *(item.density_grid[-1] for item in spectra))
    largest = max(-low, high)
    finest = min(item.density_grid[1] - item.density_grid[0] for item in spectra)
    unit = max(finest, largest * 10.0**-_DECADES)
    bottom, top = math.asinh(low / unit), math.asinh(high / unit)
    below = (
        0
        if low == 0
        else count
        if high == 0
        else min(max(round(count * -bottom / (top - bottom)), 1), count - 1)
    )
    above = count - below
    return [
        *(unit * math.sinh(bottom * (below - i) / below) for i in range(below)),
        0.0,
        *(unit * math.sinh(top * (i + 1) / above) for i in range(above)),
    ]  # fmt: skip


def shares(item: Curvature, edges: Sequence[float]) -> list[float]:
    """Share of the spectrum between each two edges; the mass at a grid point lies evenly about it."""
    grid, mass = item.density_grid, item.density_mass
    inner = [(a + b) / 2 for a, b in itertools.pairwise(grid)]
    bounds = [grid[0] - (inner[0] - grid[0]), *inner, grid[-1] + (grid[-1] - inner[-1])]
    sums = [0.0]
    for part in mass:
        sums.append(sums[-1] + part)

    def below(curvature: float) -> float:
        if curvature <= bounds[0]:
            return 0.0
        if curvature >= bounds[-1]:
            return sums[-1]
        i = bisect_right(bounds, curvature) - 1
        return sums[i] + mass[i] * (curvature - bounds[i]) / (bounds[i + 1] - bounds[i])

    at = [0.0, *(below(edge) for edge in edges[1:-1]), sums[-1]]
    return [(b - a) / sums[-1] for a, b in itertools.pairwise(at)]


def cell(curvature: float, edges: Sequence[float]) -> int:
    """The cell that it lies in; what is beyond the ends, or none, lies in the nearest."""
    return min(max(bisect_right(edges, curvature) - 1, 0), len(edges) - 2)
