"""All alerts and marks in lines, the newest first, one of them chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from lsmon.protocol.counts import counted, grouped
from lsmon.protocol.frames import Alert, Mark

from .alerts import ASCII_SIGNS, EMPTY, SIGNS, title
from .canvas import Canvas
from .panel import Panel, Readout, Scene

Entry = Alert | Mark


@dataclass(frozen=True, slots=True)
class Listed:
    entries: tuple[Entry, ...] = ()
    at: int = 0
    """Which of them is chosen."""
    later: int = 0
    empty: str = EMPTY


class AlertList(Panel):
    """Follows the newest until another is chosen; then stays with that one, whatever comes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Newer", tooltip="The one above", id="alert_up"),
        Binding("down,j", "move(1)", "Older", tooltip="The one below", id="alert_down"),
        Binding("pageup", "page(-1)", "Page up", tooltip="A page up", id="alert_page_up"),
        Binding("pagedown", "page(1)", "Page down", tooltip="A page down", id="alert_page_down"),
    ]

    class Moved(Message):
        """Another one was chosen."""

    class Opened(Message):
        """A second click on the chosen one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.later = 0
        """Alerts of a recording that are still to come at this step."""
        self.picked: list[Entry] = []
        """To be compared, in the order in which they were picked."""
        self._held_on: Entry | None = None
        self._top = 0

    @property
    def held(self) -> Listed:
        return self.content if isinstance(self.content, Listed) else Listed()

    @property
    def chosen(self) -> Entry | None:
        held = self.held
        return held.entries[held.at] if held.entries else None

    def pick(self, scene: Scene) -> Listed:
        both: list[Entry] = [*scene.alerts, *scene.view.marks]
        both.sort(key=lambda entry: (entry.step, entry.seq), reverse=True)
        at = next(
            (i for i, entry in enumerate(both) if self._held_on is not None and entry == self._held_on), 0
        )
        return Listed(tuple(both), at, self.later, scene.in_time(EMPTY))

    def choose(self, at: int) -> None:
        entries = self.held.entries
        if entries:
            at = min(max(at, 0), len(entries) - 1)
            self._held_on = entries[at] if at else None
            self.again()
            self.post_message(self.Moved())

    def pick_chosen(self) -> None:
        chosen = self.chosen
        if chosen in self.picked:
            self.picked.remove(chosen)
        elif chosen is not None:
            self.picked.append(chosen)
        self.redraw()

    def action_move(self, by: int) -> None:
        self.choose(self.held.at + by)

    def action_page(self, by: int) -> None:
        self.choose(self.held.at + by * max(self._rows - 1, 1))

    @property
    def _rows(self) -> int:
        return max(self.size.height - 2, 1)

    def on_click(self, event: events.Click) -> None:
        at = self._top + event.y - 1
        if not 0 <= at < len(self.held.entries):
            return
        if at == self.held.at:
            self.post_message(self.Opened())
        else:
            self.choose(at)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-1)

    def on_mouse_scroll_down(self) -> None:
        self.action_move(1)

    def readouts(self) -> list[Readout]:
        held = self.held
        return [Readout("", f"{held.at + 1} of {len(held.entries)}")] if held.entries else []

    def note(self) -> tuple[str, str]:
        later = self.held.later
        return "dim", f"{counted(later, 'alert')} later: n goes there" if later else ""

    def draw_line(self, canvas: Canvas) -> None:
        x = self.put_name(canvas)
        if self.chosen is None:
            canvas.put(x, 0, self.held.empty, "dim")
        else:
            self._row(canvas, x, 0, self.chosen, True)

    def draw_inside(self, canvas: Canvas) -> None:
        held = self.held
        if not held.entries:
            canvas.centre(f"{held.empty}: alerts of the training and its marks are listed here")
            return
        rows = canvas.rows
        self._top = min(max(self._top, held.at - rows + 1), held.at, max(len(held.entries) - rows, 0))
        for y, entry in enumerate(held.entries[self._top : self._top + rows]):
            self._row(canvas, 0, y, entry, self._top + y == held.at)

    def _row(self, canvas: Canvas, x: int, y: int, entry: Entry, chosen: bool) -> None:
        severity = entry.severity if isinstance(entry, Alert) else "good"
        signs = ASCII_SIGNS if self.ascii_only else SIGNS
        x = canvas.put(x, y, (">" if self.ascii_only else "›") if chosen else " ", "bold ink")
        if entry in self.picked:
            x = canvas.put(x, y, "+" if self.ascii_only else "◆", "info") + 1
        else:
            x = canvas.put(x, y, signs[severity], severity) + 1
        x = canvas.put(x, y, f"{grouped(entry.step):>8}  ", "ink" if chosen else "dim")
        loud = severity if severity in ("warning", "critical") else "ink"
        canvas.put(x, y, title(entry), f"bold {loud}" if chosen else loud)
