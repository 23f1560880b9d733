"""A plot on a canvas: curves, few labels, alerts as upright rules, zero and thresholds across."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..abscissa import Kind, gap
from ..abscissa import labels as words
from ..axes import StepAxis, ValueAxis
from ..format import percent
from ..tick_names import tick_names
from .canvas import Canvas

if TYPE_CHECKING:
    from ..columns import Columns

GUTTER = 7
"""Cells left of a curve, for the labels of its axis: the same in all panels, so that steps stand below each other."""
MOST_CURVES = 4
"""More in one plot cannot be told apart."""
_INKS = (
    *(f"curve{index}" for index in range(MOST_CURVES)),
    *(f"soft curve{index}" for index in reversed(range(MOST_CURVES))),
)
"""By the owner of a cell, which is negative where only a stipple is."""
_LABEL_CELLS = 9
"""Columns of cells for each label of a step: "41.2 k" and air on both sides."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Draws on rows ``top`` to ``top + rows`` of a canvas; what is drawn first stays on top."""

    canvas: Canvas
    top: int
    rows: int
    ascii_only: bool = False
    blocks: bool = False

    @property
    def cols(self) -> int:
        return self.canvas.cols - GUTTER

    def row(self, values: ValueAxis, value: float) -> int:
        """The row of cells in which a value lies."""
        dot = round((1 - values.height(value)) * (self.rows * 4 - 1))
        return self.top + min(max(dot // 4, 0), self.rows - 1)

    def curves(self, curves: Sequence[Columns], values: ValueAxis, *, band: bool) -> None:
        from ..braille import plot

        picture = plot(curves, values, self.rows, band=band, ascii_only=self.ascii_only, blocks=self.blocks)
        text, inks = self.canvas.text[self.top :], self.canvas.inks[self.top :]
        for y, x, char, owner in picture.filled:
            text[y][GUTTER + x], inks[y][GUTTER + x] = char, _INKS[owner]

    def value_labels(self, values: ValueAxis, *, share: bool) -> None:
        """Whole ones: a number without its end is another number. ``share``: of one, in per cent."""
        ticks = values.ticks
        labels = [percent(tick) for tick in ticks] if share else tick_names(ticks, GUTTER - 1)
        for tick, label in zip(ticks, labels, strict=True):
            if 0 < len(label) < GUTTER:
                self.canvas.put(0, self.row(values, tick), f"{label:>{GUTTER - 1}}", "faint")

    def step_labels(self, axis: StepAxis, kind: Kind = "step") -> None:
        """In the row below the plot."""
        most = max(self.cols // _LABEL_CELLS, 1)
        ticks = axis.ticks(2 * self.cols, most, lambda least: gap(kind, least))
        if len(ticks) < 2:  # one alone says nothing of the scale
            ticks = axis.ticks(2 * self.cols, 2 * most, lambda least: gap(kind, least))
        labels = [
            (GUTTER + axis.column(tick) // 2, said)
            for tick, said in zip(ticks, words(kind, ticks), strict=True)
            if said
        ]
        self.canvas.labels(self.top + self.rows, GUTTER, labels)

    def marks(self, alerts: Sequence[tuple[int, str]]) -> None:
        """An upright rule at each (column of dots, severity)."""
        glyph = ":" if self.ascii_only else "┊"
        for column, severity in alerts:
            x, ink = GUTTER + column // 2, "rule" if severity == "info" else f"soft {severity}"
            for y in range(self.top, self.top + self.rows):
                if self.canvas.text[y][x] == " ":
                    self.canvas.text[y][x], self.canvas.inks[y][x] = glyph, ink

    def cursor(self, column: int) -> None:
        """An upright rule at this column of dots, over everything but the curves."""
        x = GUTTER + column // 2
        for y in range(self.top, self.top + self.rows):
            if self.canvas.text[y][x] in " ┊╌.:":
                self.canvas.put(x, y, "|" if self.ascii_only else "│", "focus")

    def zero(self, values: ValueAxis) -> None:
        if not values.log and values.low < 0 < values.high:
            self._across(self.row(values, 0.0), "rule")

    def edge(self, values: ValueAxis, value: float, label: str) -> None:
        """A threshold, with its name on or beside it as far to the right as nothing is in the way."""
        y = self.row(values, value)
        self._across(y, "soft warning")
        free = set(" .:") if self.ascii_only else set(" ╌┊")
        label = f" {label} " if label else ""
        for row in (y, y - 1, y + 1) if label else ():
            if not self.top <= row < self.top + self.rows:
                continue
            for x in range(self.canvas.cols - len(label) - 1, GUTTER, -1):
                if set(self.canvas.text[row][x : x + len(label)]) <= free:
                    self.canvas.put(x, row, label, "warning")
                    return

    def _across(self, y: int, ink: str) -> None:
        glyph = "." if self.ascii_only else "╌"
        text, inks = self.canvas.text[y], self.canvas.inks[y]
        for x in range(GUTTER, self.canvas.cols):
            if text[x] == " ":
                text[x], inks[x] = glyph, ink
