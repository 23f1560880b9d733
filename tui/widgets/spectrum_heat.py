"""The spectrum over time: curvatures upwards, steps to the right, the share of the spectrum as a shade."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lsmon.protocol.counts import counted

from ..axes import StepAxis
from ..format import percent, short
from .curvatures import NO_DENSITY, curvature_edges, shares, usable
from .heat import Heat, HeatPanel, held_over, shades
from .panel import Scene


class SpectrumHeat(HeatPanel):
    """Each column sums to the whole spectrum; below zero it has other signs."""

    def pick(self, scene: Scene) -> Heat:
        view = scene.view
        spectra = [item for item in view.spectra if usable(item)]
        if not spectra:
            return Heat(empty=scene.in_time(NO_DENSITY))
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
