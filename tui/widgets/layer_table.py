"""The table by layer: every number with its bar, so that what goes up or down with depth is seen as a slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from lsmon.protocol.counts import grouped

from .canvas import Canvas, cells, fit
from .layer_columns import NO_LAYERS, Column, bar, tabled
from .panel import Panel, Readout, Scene

_COLUMN = 14
"""Cells that a column needs for its value and a bar that says anything."""
_VALUE = 8


@dataclass(frozen=True, slots=True)
class Table:
    names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    steps: tuple[tuple[str, int], ...] = ()
    """When the numbers are from."""
    empty: str = ""


class LayerTable(Panel):
    """Scrolls by line and by page; columns that do not fit are named in the lower border."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_by(-1)", "Up", tooltip="One layer up", id="layer_up"),
        Binding("down,j", "scroll_by(1)", "Down", tooltip="One layer down", id="layer_down"),
        Binding("pageup", "scroll_by(-10)", "Page up", tooltip="Ten layers up", id="layer_page_up"),
        Binding("pagedown", "scroll_by(10)", "Page down", tooltip="Ten layers down", id="layer_page_down"),
    ]

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._top = 0

    @property
    def held(self) -> Table:
        return self.content if isinstance(self.content, Table) else Table()

    def pick(self, scene: Scene) -> Table:
        view = scene.view
        names, columns = tabled(view.layers, view.layer_sharpness)
        if not columns:
            return Table(empty=scene.in_time(view.heartbeat.notes.get("layers") or NO_LAYERS))
        both = (("scale", view.layers), ("sharpness", view.layer_sharpness))
        return Table(names, columns, tuple((what, frame.step) for what, frame in both if frame.values))

    def action_scroll_by(self, by: int) -> None:
        self._top = max(self._top + by, 0)
        self.redraw()

    def on_mouse_scroll_up(self) -> None:
        self.action_scroll_by(-1)

    def on_mouse_scroll_down(self) -> None:
        self.action_scroll_by(1)

    def readouts(self) -> Sequence[Readout]:
        return [Readout(f"{what} at step", grouped(step)) for what, step in self.held.steps]

    def note(self) -> tuple[str, str]:
        held = self.held
        if not held.columns:
            return "dim", ""
        cols = self.size.width - 4
        said = []
        rows = self._rows(self.size.height - 2, self._slopes(held.columns[: self._fitting(cols)]))
        if rows < len(held.names):
            top = min(self._top, len(held.names) - rows)
            said.append(f"layers {top + 1} to {top + rows} of {len(held.names)}")
        left = held.columns[self._fitting(cols) :]
        if left:
            said.append(f"no room for {', '.join(column.title for column in left)}")
        elif all(column.kind != "hessian/max" for column in held.columns):
            said.append('λ max by layer needs sensors="full"')
        return "warning" if left else "dim", "; ".join(said)

    def _slopes(self, columns: Sequence[Column]) -> list[str]:
        return [words for column in columns if (words := column.slope())]

    def _rows(self, height: int, slopes: Sequence[str]) -> int:
        """Layers that fit below the heading and above the slopes, which give way on a low screen."""
        return max(height - 1 - (len(slopes) + 1 if slopes and height >= len(slopes) + 5 else 0), 1)

    def _named(self, cols: int) -> int:
        return min(max((6, *map(cells, self.held.names))), max(cols // 3, 8))

    def _fitting(self, cols: int) -> int:
        return max((cols - self._named(cols)) // _COLUMN, 1)

    def draw_line(self, canvas: Canvas) -> None:
        x = self.put_name(canvas)
        held = self.held
        canvas.put(
            x, 0, held.empty or "; ".join(self._slopes(held.columns)) or f"{len(held.names)} layers", "dim"
        )

    def draw_inside(self, canvas: Canvas) -> None:
        held = self.held
        if not held.columns:
            canvas.centre(held.empty)
            return
        width = self._named(canvas.cols)
        shown = held.columns[: self._fitting(canvas.cols)]
        wide = (canvas.cols - width) // len(shown)
        slopes = self._slopes(shown)
        rows = self._rows(canvas.rows, slopes)
        self._top = min(self._top, max(len(held.names) - rows, 0))
        canvas.put(0, 0, "layer", "faint")
        for index, column in enumerate(shown):
            x = width + index * wide
            canvas.put(x, 0, f"{fit(column.title, wide - 2):>{_VALUE + 2}}", "faint", end=x + wide)
            shares = column.shares()
            for y, layer in enumerate(range(self._top, min(self._top + rows, len(held.names))), start=1):
                self._cell(canvas, x, y, column.said(layer), shares[layer], wide - _VALUE - 4, index)
        for y, name in enumerate(held.names[self._top : self._top + rows], start=1):
            canvas.put(0, y, name, "ink", end=width)
        if rows < canvas.rows - 1:
            for y, words in enumerate(slopes, start=min(len(held.names) + 2, canvas.rows - len(slopes))):
                loud = "dim" if " level" in words else "warning"
                canvas.put(0, y, words, loud)

    def _cell(self, canvas: Canvas, x: int, y: int, said: str, share: float, room: int, index: int) -> None:
        odd = said == "not fin."
        x = canvas.put(x + 2, y, f"{said:>{_VALUE}}", "bold critical" if odd else "ink") + 1
        if room > 0 and not math.isnan(share):
            canvas.put(x, y, bar(share, room, ascii_only=self.ascii_only), f"soft curve{index}")
