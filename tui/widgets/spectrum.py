"""The last spectral density: which share of the curvatures lies where, and the eigenvalues that stick out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from lsmon.protocol.counts import counted, grouped
from lsmon.protocol.frames import Curvature
from lsmon.protocol.nulls import semicircle

from ..format import percent, short
from .canvas import Canvas, cells
from .curvatures import NO_DENSITY, cell, curvature_edges, shares, usable
from .panel import Panel, Readout, Scene
from .plot import GUTTER
from .spectrum_facts import Fact, Spectrum, facts, folded, of_ends

_FACTS = 44
"""Columns for the facts beside the density, ..."""
_BESIDE = 100
"""... which from so many columns on still leaves it more than half."""
_SAID_ROWS = 3
"""Below the middle, where there is no density: its sentence has these, and then there is what is known of the ends."""
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
        if usable(view.spectrum):
            return Spectrum(view.spectrum, view.curvature)
        words = view.heartbeat.notes.get("curvature", "")
        return Spectrum(
            ends=view.curvature, empty=scene.in_time(NO_DENSITY + (f"; curvature: {words}" if words else ""))
        )

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
            ends = of_ends(held.ends)
            lines, y = folded(ends, min(canvas.cols, _FACTS)), canvas.rows // 2 + _SAID_ROWS
            if y + len(lines) <= canvas.rows:
                canvas.centre(held.empty)
                self._facts(canvas, max((canvas.cols - _FACTS) // 2, 0), y, lines)
            else:
                known = "; ".join(f"{label} {words}" for label, words in ends)
                canvas.centre(f"{held.empty}. {known}" if known else held.empty)
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
        density, ritz = held.density, [*held.ends.top, *held.ends.bottom]
        edges = curvature_edges([density], cols, [item.value for item in ritz])
        masses = shares(density, edges)
        floor, top = _limits(masses, density.parameters)
        for y, share in ((0, top), (tall - 1, floor)) if tall > 1 else ((0, top),):
            label = percent(share, 1)
            label = label if len(label) < GUTTER else label.replace(" ", "")
            canvas.put(0, y, f"{label:>{GUTTER - 1}.{GUTTER - 1}}", "faint")
        zero = edges.index(0.0)
        for x, mass in enumerate(masses):
            self._bar(canvas, GUTTER + x, tall, _height(mass, floor, top), _kind(edges[x : x + 2], density))
            if x == zero and zero > 0:
                for y in range(tall):
                    if canvas.text[y][GUTTER + x] == " ":
                        canvas.put(GUTTER + x, y, ":" if self.ascii_only else "┊", "rule")
        chance = semicircle(density.density_grid, density.density_mass, density.parameters)
        if chance is not None:
            sign = "o" if self.ascii_only else "∘"
            for x, (low, high) in enumerate(pairwise(edges)):
                height = _height(chance.below(high) - chance.below(low), floor, top)
                if height > 0:
                    canvas.put(GUTTER + x, tall - 1 - min(int(height * tall), tall - 1), sign, "bold curve2")
        for item in ritz:
            sign = ("^" if item.converged else "?") if self.ascii_only else "▲" if item.converged else "△"
            canvas.put(GUTTER + cell(item.value, edges), tall, sign, "warning" if item.value < 0 else "ink")
        for x, label in ticks(edges):
            canvas.put(GUTTER + x, tall + 1, label, "faint", end=end)
        self._legend(canvas, tall + 2, end, chance is not None)

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


def ticks(edges: Sequence[float]) -> list[tuple[int, str]]:
    """Labels of curvatures below the columns between the edges, with the column where each begins: zero, the ends, and
    powers of ten where there is room, the largest first."""
    cols = len(edges) - 1
    powers = [10.0**k for k in range(math.floor(math.log10(max(-edges[0], edges[-1]))), -100, -1)][:8]
    free = [True] * cols
    made = []
    for value in (0.0, edges[0], edges[-1], *(sign * power for power in powers for sign in (1, -1))):
        if not edges[0] <= value <= edges[-1]:
            continue
        label = short(value)
        x = min(max(cell(value, edges) - cells(label) // 2, 0), max(cols - cells(label), 0))
        room = slice(max(x - 2, 0), x + cells(label) + 2)
        if all(free[room]):
            free[room] = [False] * len(free[room])
            made.append((x, label))
    return made


def _limits(masses: Sequence[float], parameters: int) -> tuple[float, float]:
    """Lowest and highest mass on the axis, powers of ten."""
    top = 10.0 ** math.ceil(math.log10(max(masses)) - 1e-9)
    least = 0.5 / parameters if parameters > 0 else 0.0
    floor = 10.0 ** math.floor(math.log10(least)) if least else 0.0
    return max(min(floor or top, top * 10.0**-_LEAST_DECADES), 1e-12), top


def _height(mass: float, floor: float, top: float) -> float:
    """On the logarithmic axis, 0 at the floor and 1 at the top."""
    return min(math.log(mass / floor) / math.log(top / floor), 1.0) if mass > floor else 0.0


def _kind(between: Sequence[float], density: Curvature) -> str:
    """Of a column: zero lies on an edge, so each has one sign."""
    size = max(map(abs, density.density_grid))
    if max(map(abs, between)) <= (density.fraction_tolerance or 0.0) * size:
        return "near zero"
    return "negative" if between[1] <= 0 else "positive"
