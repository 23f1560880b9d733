"""Runs in lines: what trains now first, each with its state, age, steps and the course of its loss."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from lsmon.protocol.counts import counted, grouped

from ..catalog import Listed
from ..format import age, number
from .canvas import Canvas, cells, fit
from .panel import Panel, Readout

_STATES = {
    "live": ("●", "*", "good"),
    "idle": ("▲", "!", "warning"),
    "stale": ("▲", "!", "warning"),
    "finished": ("■", "#", "dim"),
    "stopped": ("■", "#", "dim"),
    "failed": ("✖", "X", "critical"),
    "ended early": ("■", "#", "warning"),
}
_BLOCKS, _ASCII_LEVELS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
_COURSE, _LEAST_COURSE = 24, 10
_WIDE = 100
"""Columns from which on a name has 32 cells; else 22, so that the steps have room."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the list shows, filtered already."""

    rows: tuple[Listed, ...] = ()
    now: float = 0.0
    every: tuple[Listed, ...] = ()
    """What there is; with a filter that is more."""

    @property
    def hidden(self) -> int:
        return len(self.every) - len(self.rows)


class RunList(Panel):
    """One line is chosen; several can be picked, to be laid over one another."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", tooltip="The run above", id="run_up"),
        Binding("down,j", "move(1)", "Down", tooltip="The run below", id="run_down"),
        Binding("pageup", "page(-1)", "Page up", tooltip="A page up", id="run_page_up"),
        Binding("pagedown", "page(1)", "Page down", tooltip="A page down", id="run_page_down"),
        Binding("space", "pick", "Pick", tooltip="Pick or unpick, to compare several", id="run_pick"),
    ]

    class Opened(Message):
        """A second click on the chosen one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.picked: list[tuple[str, str, str]] = []
        """Keys of the picked ones, in the order in which they were."""
        self._at: tuple[str, str, str] | None = None
        self._top = 0

    @property
    def held(self) -> Shown:
        return self.content if isinstance(self.content, Shown) else Shown()

    @property
    def chosen(self) -> Listed | None:
        rows = self.held.rows
        return rows[self._index] if rows else None

    @property
    def picks(self) -> list[Listed]:
        by_key = {item.key: item for item in self.held.every}
        return [by_key[key] for key in self.picked if key in by_key]

    @property
    def _index(self) -> int:
        """Of the chosen one, which stays chosen wherever it moves in the list."""
        return next((i for i, item in enumerate(self.held.rows) if item.key == self._at), 0)

    def tell(self, listed: Sequence[Listed], now: float, only: re.Pattern[str] | None = None) -> None:
        """Those whose name, host or state matches."""
        rows = [item for item in listed if only is None or only.search(words_of(item))]
        rows.sort(key=lambda item: not item.run.lives)  # stable: else as each host listed them
        shown = Shown(tuple(rows), now, tuple(listed))
        if shown != self.content:
            self.content = shown
            self.redraw()

    def action_move(self, by: int) -> None:
        rows = self.held.rows
        if rows:
            self._at = rows[min(max(self._index + by, 0), len(rows) - 1)].key
            self.redraw()

    def action_page(self, by: int) -> None:
        self.action_move(by * max(self.size.height - 4, 1))

    def action_pick(self) -> None:
        chosen = self.chosen
        if chosen is None:
            return
        if chosen.key in self.picked:
            self.picked.remove(chosen.key)
        else:
            self.picked.append(chosen.key)
        self.action_move(1)

    def on_click(self, event: events.Click) -> None:
        at = self._top + event.y - 2
        if 0 <= at < len(self.held.rows):
            if at == self._index:
                self.post_message(self.Opened())
            else:
                self.action_move(at - self._index)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-1)

    def on_mouse_scroll_down(self) -> None:
        self.action_move(1)

    def readouts(self) -> Sequence[Readout]:
        held = self.held
        said = []
        for word, lives in (("live", True), ("recorded", False)):
            shown, every = (sum(item.run.lives is lives for item in some) for some in (held.rows, held.every))
            said.append(Readout("", f"{shown} of {every} {word}" if shown < every else f"{every} {word}"))
        if self.picked:
            said.insert(0, Readout("picked", str(len(self.picks))))
        return said

    def note(self) -> tuple[str, str]:
        hidden = self.held.hidden
        return "warning", f"the filter hides {counted(hidden, 'run')}: esc shows all" if hidden else ""

    def draw_line(self, canvas: Canvas) -> None:
        x = self.put_name(canvas)
        canvas.put(x, 0, words_of(self.chosen) if self.chosen else "no runs", "dim")

    def draw_inside(self, canvas: Canvas) -> None:
        rows, room = self.held.rows, canvas.rows - 1
        if not rows and self.held.hidden:
            canvas.centre("no run matches")
            return
        widths = self._widths(canvas.cols)
        self._headings(canvas, widths)
        self._top = min(max(self._top, self._index - room + 1), self._index, max(len(rows) - room, 0))
        for y, item in enumerate(rows[self._top : self._top + room], start=1):
            self._row(canvas, y, item, widths, self._top + y - 1 == self._index)

    def _widths(self, cols: int) -> dict[str, int]:
        """Cells of each column, the least needed ones gone where there is no room."""
        rows = self.held.rows
        names = Counter((item.run.name, _host(item)) for item in rows)
        several = any(count > 1 for count in names.values())

        def widest(texts: list[str], least: int, most: int) -> int:
            return min(max([least, *map(cells, texts)]), most)

        wanted = {
            "name": widest([item.run.name for item in rows], 4, 32 if cols >= _WIDE else 22),
            "state": 11,
            "loss": 10,
            "age": widest([_age(item, self.held.now) for item in rows], 7, 12),
            **({"id": 8} if several else {}),
            "steps": widest([_steps(item) for item in rows], 5, 11),
            "course": _LEAST_COURSE,
            "host": widest([_host(item) for item in rows], 4, 24),
        }
        left = cols - 4
        kept: dict[str, int] = {}
        for column, width in wanted.items():
            if left - width - 2 < 0:
                continue
            kept[column] = width
            left -= width + 2
        # What is left over shows more of the courses, then of the names, then of the hosts.
        if "course" in kept:
            kept["course"] += min(left, _COURSE - _LEAST_COURSE)
            left -= kept["course"] - _LEAST_COURSE
        for column, texts in (("name", [item.run.name for item in rows]), ("host", list(map(_host, rows)))):
            if column in kept:
                more = min(max(map(cells, texts), default=0) - kept[column], left)
                kept[column] += max(more, 0)
                left -= max(more, 0)
        return {
            column: kept[column]
            for column in ("name", "id", "host", "state", "age", "steps", "course", "loss")
            if column in kept
        }

    def _headings(self, canvas: Canvas, widths: dict[str, int]) -> None:
        titles = {"age": "started", "course": "loss over the run", "loss": "last loss"}
        if widths.get("course", _COURSE) < cells(titles["course"]):
            titles["course"] = "its loss"
        x = 4
        for column, width in widths.items():
            title = fit(titles.get(column, column), width)
            right = column in ("steps", "loss")
            canvas.put(x + (width - cells(title) if right else 0), 0, title, "faint")
            x += width + 2

    def _row(self, canvas: Canvas, y: int, item: Listed, widths: dict[str, int], chosen: bool) -> None:
        run, last = item.run, item.run.last_loss
        sign, bare, ink = _STATES["idle" if run.idles else run.state]
        canvas.put(0, y, (">" if self.ascii_only else "›") if chosen else " ", "bold ink")
        if item.key in self.picked:
            canvas.put(1, y, "+" if self.ascii_only else "◆", "info")
        canvas.put(2, y, bare if self.ascii_only else sign, ink)
        said = {
            "name": (run.name, "bold ink" if chosen else "ink"),
            "id": (run.run[:8], "dim"),
            "host": (_host(item), "dim"),
            "state": (run.words, ink),
            "age": (_age(item, self.held.now), "dim"),
            "steps": (f"{_steps(item):>{widths.get('steps', 0)}}", "dim"),
            "course": (course(run.loss, widths.get("course", 0), ascii_only=self.ascii_only), "soft curve0"),
            "loss": (
                f"{'–' if last is None else number(last):>{widths.get('loss', 0)}}",
                "ink" if last is None or math.isfinite(last) else "warning",
            ),
        }
        x = 4
        for column, width in widths.items():
            words, colour = said[column]
            canvas.put(x, y, fit(words, width, "~" if self.ascii_only else "…"), colour)
            x += width + 2


def words_of(item: Listed) -> str:
    """What a filter looks at."""
    return f"{item.run.name} {_host(item)} {item.run.words} {item.run.state} {item.run.run}"


def _host(item: Listed) -> str:
    return item.run.place or item.run.host


def _age(item: Listed, now: float) -> str:
    return f"{age(now - item.run.started)} ago" if item.run.started else "–"


def _steps(item: Listed) -> str:
    return "–" if item.run.steps is None else grouped(item.run.steps)


def course(values: Sequence[float], cols: int, *, ascii_only: bool = False) -> str:
    """A line of blocks, logarithmic where all are positive; low and flat where nothing moves."""
    if not values or cols < 1:
        return ""
    if len(values) > cols:  # from its first to its last
        values = [values[round(at * (len(values) - 1) / max(cols - 1, 1))] for at in range(cols)]
    scaled = [math.log(value) for value in values] if min(values) > 0 else list(values)
    low, high = min(scaled), max(scaled)
    glyphs = _ASCII_LEVELS if ascii_only else _BLOCKS
    span = high / 2 - low / 2  # the whole may be more than a float holds
    moves = span > 5e-10 * max(abs(high), 1e-300)
    return "".join(
        glyphs[round((value / 2 - low / 2) / span * (len(glyphs) - 1)) if moves else 0] for value in scaled
    )
