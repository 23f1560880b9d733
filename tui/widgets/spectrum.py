"""The last spectral density: which share of the curvatures lies where, and the eigenvalues that stick out."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from lsmon.protocol.frames import Curvature
from lsmon.protocol.nulls import Semicircle, semicircle

from ..axes import ValueAxis
from ..format import counted, grouped, percent, short
from .canvas import Canvas, cells
from .panel import Panel, Readout, Scene
from .plot import GUTTER
from .spectrum_facts import Fact, Spectrum, facts, folded, of_ends

_FACTS = 44
"""Columns for the facts beside the density, ..."""
_BESIDE = 100
"""... which from so many columns on still leaves it more than half."""
_LEAST_DECADES = 3
"""Of mass below the highest column; with more parameters it goes down to half of one eigenvalue."""
_BLOCKS = "▁▂▃▄▅▆▇█"
_CHANCE = (" chance: a semicircle as wide as the bulk", " chance: semicircle", " chance")
"""The null model, Wigner's, in fewer and fewer words."""


class SpectrumPanel(Panel):
    """Mass on a logarithmic axis: bulk and outliers differ by orders of magnitude."""

    @property
    def held(self) -> Spectrum:
        return self.content if isinstance(self.content, Spectrum) else Spectrum()

    def pick(self, scene: Scene) -> Spectrum:
        view = scene.view
        if len(view.spectrum.density_grid) > 1:
            return Spectrum(view.spectrum, view.curvature)
        words = view.heartbeat.notes.get("curvature", "")
        empty = f'no density yet: it is measured with sensors="full" where the budget leaves room{"; curvature: " if words else ""}{words}'  # fmt: skip
        return Spectrum(ends=view.curvature, empty=empty)

    def readouts(self) -> Sequence[Readout]:
        held = self.held
        return [] if held.empty else [Readout("of step", grouped(held.density.step))]

    def note(self) -> tuple[str, str]:
        notes = self.held.density.notes
        return ("warning", "; ".join(notes)) if notes else ("dim", self.held.density.method)

    def draw_line(self, canvas: Canvas) -> None:
        x = self.put_name(canvas)
        held = self.held
        said = held.empty or "  ".join(f"{label} {words}" for label, words in facts(held)[:3])
        canvas.put(x, 0, said, "dim")

    def draw_inside(self, canvas: Canvas) -> None:
        held = self.held
        if held.empty:
            ends = "; ".join(f"{label} {words}" for label, words in of_ends(held.ends))
            canvas.centre(f"{held.empty}. {ends}" if ends else held.empty)
            return
        beside = canvas.cols >= _BESIDE
        said = folded(facts(held), _FACTS if beside else canvas.cols)
        if beside:
            self._facts(canvas, canvas.cols - _FACTS, 0, said)
            self._density(canvas, canvas.cols - _FACTS - 3, canvas.rows)
            return
        rows = max(canvas.rows - len(said) - 1, min(canvas.rows, 8))
        self._density(canvas, canvas.cols, rows)
        self._facts(canvas, 0, rows + 1, said)

    def _facts(self, canvas: Canvas, x: int, y: int, said: Sequence[Fact]) -> None:
        room = canvas.rows - y
        if len(said) > room > 0:
            said = [
                *said[: room - 1],
                (f"and {counted(len(said) - room + 1, 'line')} more on a taller screen", ""),
            ]
        for row, (label, words) in enumerate(said, start=y):
            canvas.put(x, row, label, "faint")
            if words:
                canvas.put(x + 11, row, words, "ink")

    def _density(self, canvas: Canvas, end: int, rows: int) -> None:
        """On the first ``rows`` rows: bars, ticks of the outliers, labels, and what the signs mean."""
        held, cols, tall = self.held, end - GUTTER, rows - 3
        if cols < 8 or tall < 1:
            return
        ritz = [*held.ends.top, *held.ends.bottom]
        axis = across(held.density, [item.value for item in ritz])
        masses = resampled(held.density.density_grid, held.density.density_mass, axis, cols)
        floor, top = _limits(held.density)
        for y, share in ((0, top), (tall - 1, floor)) if tall > 1 else ((0, top),):
            label = percent(share, 1)
            label = label if len(label) < GUTTER else label.replace(" ", "")
            canvas.put(0, y, f"{label:>{GUTTER - 1}.{GUTTER - 1}}", "faint")
        middle = _column(0.0, axis, cols)
        for x, mass in enumerate(masses):
            kind = _kind(axis.low + (x + 0.5) / cols * (axis.high - axis.low), held.density)
            height = math.log(mass / floor) / math.log(top / floor) if mass > floor else 0.0
            self._bar(canvas, GUTTER + x, tall, height, kind)
            if x == middle and axis.low < 0:
                for y in range(tall):
                    if canvas.text[y][GUTTER + x] == " ":
                        canvas.put(GUTTER + x, y, ":" if self.ascii_only else "┊", "rule")
        chance = semicircle(held.density.density_grid, held.density.density_mass, held.density.parameters)
        if chance is not None:
            self._chance(canvas, chance, axis, cols, tall, floor, top)
        for item in ritz:
            sign = ("^" if item.converged else "?") if self.ascii_only else "▲" if item.converged else "△"
            canvas.put(
                GUTTER + _column(item.value, axis, cols), tall, sign, "warning" if item.value < 0 else "ink"
            )
        free = GUTTER
        for tick in axis.ticks:
            label = short(tick)
            x = GUTTER + _column(tick, axis, cols) - cells(label) // 2
            x = min(max(x, GUTTER), end - cells(label))
            if x >= free:
                free = canvas.put(x, tall + 1, label, "faint", end=end) + 2
        self._legend(canvas, tall + 2, end, chance is not None)

    def _chance(
        self,
        canvas: Canvas,
        chance: Semicircle,
        axis: ValueAxis,
        cols: int,
        tall: int,
        floor: float,
        top: float,
    ) -> None:
        """The null model as a line over the bars: the mass that a grid point would have."""
        grid = self.held.density.density_grid
        half = (grid[-1] - grid[0]) / max(len(grid) - 1, 1) / 2
        sign = "o" if self.ascii_only else "∘"
        for x in range(cols):
            at = axis.low + (x + 0.5) / cols * (axis.high - axis.low)
            mass = chance.below(at + half) - chance.below(at - half)
            if mass > floor:
                height = min(math.log(mass / floor) / math.log(top / floor), 1.0)
                canvas.put(GUTTER + x, tall - 1 - min(int(height * tall), tall - 1), sign, "bold curve2")

    def _bar(self, canvas: Canvas, x: int, tall: int, height: float, kind: str) -> None:
        full, ink = self._signs()[kind]
        eighths = round(height * tall * 8)
        for y in range(tall - 1, -1, -1):
            if eighths <= 0:
                return
            part = full if eighths >= 8 or self.ascii_only else _BLOCKS[eighths - 1]
            canvas.put(x, y, part, ink)
            eighths -= 8

    def _signs(self) -> dict[str, tuple[str, str]]:
        if self.ascii_only:
            return {"negative": ("-", "curve1"), "near zero": (".", "dim"), "positive": ("#", "curve0")}
        return {"negative": ("▒", "curve1"), "near zero": ("░", "dim"), "positive": ("█", "curve0")}

    def _legend(self, canvas: Canvas, y: int, end: int, chance: bool) -> None:
        x = GUTTER
        for word, (sign, ink) in self._signs().items():
            if word == "near zero" and self.held.density.fraction_tolerance is None:
                continue
            x = canvas.put(x, y, sign, ink, end=end)
            x = canvas.put(x, y, f" {word}  ", "dim", end=end)
        if self.held.ends.top or self.held.ends.bottom:
            sign = "^" if self.ascii_only else "▲"
            words = f"{sign} λ of step {grouped(self.held.ends.step)}"
            if x + cells(words) <= end:
                x = canvas.put(x, y, words, "dim", end=end) + 2
        said = next((words for words in _CHANCE if x + 1 + cells(words) <= end), "")
        if chance and said:
            x = canvas.put(x, y, "o" if self.ascii_only else "∘", "bold curve2", end=end)
            canvas.put(x, y, said, "dim", end=end)


def across(density: Curvature, outliers: Sequence[float]) -> ValueAxis:
    """The curvatures from left to right: those of the density, and all outliers."""
    known = [value for value in (*density.density_grid, *outliers, 0.0) if math.isfinite(value)]
    return ValueAxis.linear(min(known), max(known), 7)


def resampled(grid: Sequence[float], mass: Sequence[float], axis: ValueAxis, cols: int) -> list[float]:
    """The mass a grid point has in each column: the largest of those in it, or what lies between its neighbours."""
    width = (axis.high - axis.low) / cols
    made = []
    for x in range(cols):
        low, high = axis.low + x * width, axis.low + (x + 1) * width
        first, last = bisect_left(grid, low), bisect_left(grid, high)
        if first < last:
            made.append(max(mass[first:last], default=0.0))
        elif 0 < first < min(len(grid), len(mass)):
            share = ((low + high) / 2 - grid[first - 1]) / ((grid[first] - grid[first - 1]) or 1.0)
            made.append(mass[first - 1] + share * (mass[first] - mass[first - 1]))
        else:
            made.append(0.0)
    return made


def _limits(density: Curvature) -> tuple[float, float]:
    """Lowest and highest mass on the axis, powers of ten."""
    peak = max((mass for mass in density.density_mass if 0 < mass < math.inf), default=1.0)
    top = 10.0 ** math.ceil(math.log10(peak) - 1e-9)
    least = 0.5 / density.parameters if density.parameters > 0 else 0.0
    floor = 10.0 ** math.floor(math.log10(least)) if least else 0.0
    return max(min(floor or top, top * 10.0**-_LEAST_DECADES), 1e-12), top


def _column(value: float, axis: ValueAxis, cols: int) -> int:
    height = axis.height(value)
    return min(max(int(height * cols), 0), cols - 1) if math.isfinite(height) else 0


def _kind(curvature: float, density: Curvature) -> str:
    size = max((abs(value) for value in density.density_grid), default=0.0)
    if abs(curvature) <= (density.fraction_tolerance or 0.0) * size:
        return "near zero"
    return "negative" if curvature < 0 else "positive"
