"""What happened, the newest first: in a mark, a colour, a step and words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lsmon.protocol.counts import grouped
from lsmon.protocol.frames import Alert, Mark

from ..format import in_words, number
from ..since import since
from ..wrapping import wrapped
from .canvas import Canvas, cells
from .panel import Panel, Readout, Scene

SIGNS = {"info": "●", "warning": "▲", "critical": "✖", "good": "◆"}
ASCII_SIGNS = {"info": "*", "warning": "!", "critical": "X", "good": "+"}
_STEP = 9
_SHORT = 2
"""Lines of a body that are kept for every event."""
EMPTY = "nothing has happened yet"


@dataclass(frozen=True, slots=True)
class Event:
    step: int
    severity: str
    title: str
    body: str = ""
    advice: str = ""
    evidence: tuple[tuple[str, str], ...] = ()
    order: int = 0


class AlertsPanel(Panel):
    """Alerts of the training, the viewer's own, and the person's marks."""

    def pick(self, scene: Scene) -> tuple[Event, ...] | str:
        """Or the words for none."""
        events = [_event(alert) for alert in scene.alerts]
        events += [_mark(mark) for mark in scene.view.marks]
        events.sort(key=lambda event: event.step, reverse=True)
        return tuple(events) or scene.in_time(EMPTY)

    @property
    def events(self) -> tuple[Event, ...]:
        return self.content if isinstance(self.content, tuple) else ()

    @property
    def _empty(self) -> str:
        return self.content if isinstance(self.content, str) else EMPTY

    def readouts(self) -> list[Readout]:
        return [Readout("", str(len(self.events)))] if self.events else []

    def draw_line(self, canvas: Canvas) -> None:
        x = self.put_name(canvas)
        if not self.events:
            canvas.put(x, 0, self._empty, "dim")
            return
        newest = self.events[0]
        x = self._heading(canvas, x, 0, newest) + 2
        if len(self.events) > 1:
            canvas.put(x, 0, f"and {len(self.events) - 1} before", "dim")

    def _fitted(self, event: Event, cols: int) -> Event:
        """A note too long for the heading goes below it."""
        if event.severity != "good" or cells(event.title) <= cols - _STEP - 2:
            return event
        return replace(event, title="mark", body=event.title)

    def _step_cells(self, room: int) -> tuple[int, int]:
        """For the steps, and behind them; no more than they need where a title would be cut off for it."""
        if any(_STEP + cells(event.title) > room for event in self.events if event.severity != "good"):
            return max(cells(grouped(event.step)) for event in self.events), 1
        return _STEP - 2, 2

    def _heading(self, canvas: Canvas, x: int, y: int, event: Event) -> int:
        signs = ASCII_SIGNS if self.ascii_only else SIGNS
        x = canvas.put(x, y, f"{signs[event.severity]} ", event.severity)
        width, gap = self._step_cells(canvas.cols - x)
        x = canvas.put(x, y, f"{grouped(event.step):>{width}}{' ' * gap}", "dim")
        return canvas.put(
            x, y, event.title, "ink" if event.severity in ("info", "good") else f"bold {event.severity}"
        )

    def draw_inside(self, canvas: Canvas) -> None:
        if not self.events:
            canvas.centre(self._empty)
            return
        y = 0
        spacious = canvas.rows >= 3 * len(self.events)
        bodies = spacious or canvas.cols >= 60
        indent = 2 if canvas.cols < 44 else _STEP + 2
        events = [
            self._fitted(event, canvas.cols) if spacious else event for event in self.events[: canvas.rows]
        ]
        kept = [
            len(wrapped(event.body, max(canvas.cols - indent, 8), _SHORT)) if bodies else 0
            for event in events
        ]
        for index, event in enumerate(events):
            left = len(self.events) - index
            if y >= canvas.rows - 1 and left > 1:
                canvas.put(0, canvas.rows - 1, f"and {left} before", "dim")
                return
            self._heading(canvas, 0, y, event)
            y += 1
            # Every event keeps a line before any gets a body, except that the newest may speak;
            # and a body has all the room that leaves a short one to those below it.
            spare = canvas.rows - y - (left - 1)
            if spare > 0 and (bodies or index == 0):
                y = self._body(
                    canvas, indent, y, event, max(spare - sum(kept[index + 1 :]), min(_SHORT, spare))
                )

    def _body(self, canvas: Canvas, indent: int, y: int, event: Event, room: int) -> int:
        """In at most so many lines; gives the line after it."""
        said = [("dim", event.body)]
        if canvas.cols >= 60 and room >= 8:
            facts = ", ".join(f"{name} {value}" for name, value in event.evidence)
            said += [("dim", facts), ("good", event.advice)]
        end = y + room
        for ink, words in said:
            for line in wrapped(words, max(canvas.cols - indent, 8), end - y) if y < end else ():
                canvas.put(indent, y, line, ink)
                y += 1
        return y


def title(entry: Alert | Mark) -> str:
    """In a few words: the kind of an alert, the note of a mark."""
    if isinstance(entry, Alert):
        return entry.kind.replace("_", " ") or "alert"
    return entry.note.replace("\n", " ") or "mark"


def _event(alert: Alert) -> Event:
    began = since(alert)
    return Event(
        alert.step, alert.severity, title(alert), in_words(alert.message) + (f" Since {began}." if began else ""), alert.advice,
        tuple((name, number(value)) for name, value in alert.evidence.items()),
    )  # fmt: skip


def _mark(mark: Mark) -> Event:
    return Event(mark.step, "good", title(mark))
