"""Values over time as shades: rows of something, columns of the run, dark to bright."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..axes import UNIT, StepAxis
from ..format import short
from .canvas import Canvas, cells, fit
from .panel import Panel

RAMP = " ░▒▓█"
NEGATIVE_RAMP = " -=≡#"
"""Below zero: other signs and another ink, so that neither is needed to read the other."""
ASCII_RAMP, ASCII_NEGATIVE_RAMP = " .+*@", " ,-=%"
_STEP_CELLS = 9
"""Columns for each label of a step: "41.2 k" and air on both sides."""


@dataclass(frozen=True, slots=True)
class Heat:
    """``shares[row][column]`` between 0 and 1, the top row first; NaN where nothing was measured."""

    shares: tuple[tuple[float, ...], ...] = ()
    labels: tuple[str, ...] = ()
    """One a row, empty for none."""
    negative: tuple[bool, ...] = ()
    measured: tuple[int, ...] = ()
    """Columns in which a measurement was made; what follows one is that one, held."""
    axis: StepAxis = UNIT
    """In columns of cells."""
    legend: tuple[tuple[str, str], ...] = ()
    """(ink, words) below it."""
    note: tuple[str, str] = ("dim", "")
    empty: str = ""
    line: str = ""
    """The whole in one line of words."""


def held_over(steps: Sequence[int], axis: StepAxis, last_step: int, cols: int) -> list[int]:
    """For each column the index of the measurement that was the newest there, -1 before the first and after the run."""
    at = [-1] * cols
    for index, step in enumerate(steps):
        first = max(axis.column(step), 0)
        # After a resume the steps go back, and the newer attempt is what counts from there on.
        for column in range(first, min(axis.column(last_step) + 1, cols)):
            at[column] = index
    return at


def glyph(share: float, negative: bool, *, ascii_only: bool) -> str:
    """A shade; nothing only for nothing at all."""
    if math.isnan(share) or share <= 0:
        return " "
    ramp = _ramp(negative, ascii_only)
    return ramp[min(max(math.ceil(share * (len(ramp) - 1)), 1), len(ramp) - 1)]


class HeatPanel(Panel):
    """Subclasses make the Heat; this draws it."""

    @property
    def held(self) -> Heat:
        return self.content if isinstance(self.content, Heat) else Heat(empty="nothing measured yet")

    def room(self) -> tuple[int, int, int]:
        """Columns of the labels, of the heat, and rows of the heat, as the panel's size is now."""
        left = self.label_cells()
        return left, max(self.size.width - 4 - left, 0), max(self.size.height - 2 - 3, 0)

    def label_cells(self) -> int:
        """Cells left of the heat, for the labels of its rows."""
        return 8

    def note(self) -> tuple[str, str]:
        return self.held.note

    def draw_line(self, canvas: Canvas) -> None:
        x = self.put_name(canvas)
        canvas.put(x, 0, self.held.empty or self.held.line, "dim")

    def draw_inside(self, canvas: Canvas) -> None:
        held = self.held
        if held.empty or not held.shares:
            canvas.centre(held.empty or "not enough room: a larger terminal shows it")
            return
        gutter = self.label_cells()
        for y, row in enumerate(held.shares):
            label = fit(held.labels[y], gutter - 1, "~" if self.ascii_only else "…")
            canvas.put(gutter - 1 - cells(label), y, label, "faint")
            below = held.negative[y]
            inks = ("soft curve1", "curve1") if below else ("soft curve0", "curve0")
            for x, share in enumerate(row, start=gutter):
                if share > 0:
                    sign = glyph(share, below, ascii_only=self.ascii_only)
                    canvas.put(x, y, sign, inks[share > 0.5])
        y = len(held.shares)
        for column in held.measured:
            canvas.put(gutter + column, y, "^" if self.ascii_only else "╵", "dim")
        cols = canvas.cols - gutter
        ticks = held.axis.ticks(cols, max(cols // _STEP_CELLS, 1))
        canvas.labels(y + 1, gutter, [(gutter + held.axis.column(tick), short(tick)) for tick in ticks])
        x = gutter
        for ink, words in held.legend:
            if x + cells(words) <= canvas.cols:
                x = canvas.put(x, y + 2, words, ink)


def shades(words: str, *, negative: bool = False, ascii_only: bool = False) -> str:
    """The ramp and what it stands for."""
    return f"{_ramp(negative, ascii_only).strip()} {words}  "


def _ramp(negative: bool, ascii_only: bool) -> str:
    if ascii_only:
        return ASCII_NEGATIVE_RAMP if negative else ASCII_RAMP
    return NEGATIVE_RAMP if negative else RAMP
