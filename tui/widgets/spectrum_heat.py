"""The spectrum over time: curvatures upwards, steps to the right, the share of the spectrum as a shade."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence

from lsmon.protocol.frames import Curvature

from ..axes import StepAxis
from ..format import counted, percent, short
from .heat import Heat, HeatPanel, held_over, shades
from .panel import Scene

_DECADES = 4.0
"""What is nearer to zero than the largest curvature by more than this lies in the rows about zero."""


class SpectrumHeat(HeatPanel):
    """Each column sums to the whole spectrum; below zero it has other signs."""

    def pick(self, scene: Scene) -> Heat:
        view = scene.view
        spectra = [item for item in view.spectra if usable(item)]
        if not spectra:
            return Heat(
                empty='no density yet: it is measured with sensors="full" where the budget leaves room'
            )
        _, cols, rows = self.room()
        said = f"{counted(len(spectra), 'measurement')} from step {short(spectra[0].step)} on"
        if cols < 8 or rows < 3:
            return Heat(line=said)
        edges = curvature_edges(spectra, rows)
        axis = StepAxis.over(view.first_step, max(view.step, view.first_step + 1), cols)
        columns = [shares(item, edges) for item in spectra]
        floor = min(0.5 / item.parameters if item.parameters else 1e-4 for item in spectra)
        top = max((max(column) for column in columns), default=1.0) or 1.0
        span = math.log(max(top / floor, 10.0))
        at = held_over([item.step for item in spectra], axis, view.step, cols)
        shaded = [
            [math.log(share / floor) / span if share > floor else 0.0 for share in column]
            for column in columns
        ]
        ascii_only = scene.ascii_only
        return Heat(
            shares=tuple(
                tuple(shaded[index][row] if index >= 0 else math.nan for index in at) for row in reversed(range(rows))
            ),
            labels=tuple(_labels(edges)),
            negative=tuple(edges[row + 1] <= 0 for row in reversed(range(rows))),
            measured=tuple(sorted({axis.column(item.step) for item in spectra if axis.column(item.step) < cols})),
            axis=axis,
            legend=(
                ("curve0", shades("positive", ascii_only=ascii_only)),
                ("curve1", shades("negative", negative=True, ascii_only=ascii_only)),
                ("dim", f"share of the spectrum in a row, {percent(floor, 1)} to {percent(top, 2)}"),
            ),
            note=("dim", said),
            line=said,
        )  # fmt: skip


def usable(item: Curvature) -> bool:
    """Whether there is a density that can be drawn; a file or a peer may say nonsense."""
    grid, mass = item.density_grid, item.density_mass
    return (
        1 < len(grid) == len(mass)
        and all(a < b for a, b in itertools.pairwise(grid))
        and all(math.isfinite(x) and abs(x) < 1e100 for x in grid)
        and all(0 <= m < math.inf for m in mass)
        and math.fsum(mass) > 0
    )


def curvature_edges(spectra: Sequence[Curvature], rows: int) -> list[float]:
    """Between which curvatures each row lies, ``rows + 1`` of them, ascending, with zero among them: linear about zero
    and logarithmic beyond (asinh), since an outlier is a thousand times as far out as the bulk is wide."""
    low = min(0.0, *(item.density_grid[0] for item in spectra))
    high = max(0.0, *(item.density_grid[-1] for item in spectra))
    largest = max(-low, high)
    finest = min(item.density_grid[1] - item.density_grid[0] for item in spectra)
    unit = max(finest, largest * 10.0**-_DECADES)
    bottom, top = math.asinh(low / unit), math.asinh(high / unit)
    below = (
        0
        if low == 0
        else rows
        if high == 0
        else min(max(round(rows * -bottom / (top - bottom)), 1), rows - 1)
    )
    above = rows - below
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


def _labels(edges: Sequence[float]) -> list[str]:
    """The top row first: the ends, zero on the first row above it, and some between where there is room."""
    rows = len(edges) - 1
    zero = edges.index(0.0)
    labels = [""] * rows
    for row in range(rows):
        outer = edges[row + 1] if row >= zero else edges[row]
        away = row - zero if row >= zero else zero - 1 - row
        if row in (0, rows - 1) or (away and away % 4 == 0 and 1 < row < rows - 2):
            labels[row] = short(outer)
    if zero < rows:
        labels[zero] = "0" if rows - zero > 1 or not labels[zero] else labels[zero]
    return labels[::-1]
