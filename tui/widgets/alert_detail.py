"""All that is known of one alert: what happened, since when, the numbers that crossed and what they are, advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from lsmon.protocol.counts import counted, grouped
from lsmon.protocol.frames import Alert, Mark
from lsmon.protocol.names import QUANTITIES

from ..format import in_words, number, percent
from ..since import since
from ..wrapping import wrapped
from .alerts import ASCII_SIGNS, SIGNS, title
from .canvas import Canvas, cells
from .panel import Scene
from .scrolled import Line, Scrolled

_MOST_LINES = 200
"""Of a message: the longest that a frame may carry, in a column of twenty cells."""


@dataclass(frozen=True, slots=True)
class Told:
    chosen: Alert | Mark | None = None
    before: Alert | None = None
    """The alert that it follows, when that is known here."""


class AlertDetail(Scrolled):
    """Tells of the ``chosen`` one when it is shown the next time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_by(-1)", "Up", tooltip="One line up", id="detail_up"),
        Binding("down,j", "scroll_by(1)", "Down", tooltip="One line down", id="detail_down"),
    ]

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.chosen: Alert | Mark | None = None

    @property
    def held(self) -> Told:
        return self.content if isinstance(self.content, Told) else Told()

    def pick(self, scene: Scene) -> Told:
        if self.chosen != self.held.chosen:
            self._top = 0
        follows = self.chosen.follows if isinstance(self.chosen, Alert) else None
        before = next((a for a in scene.alerts if a.seq == follows), None) if follows else None
        return Told(self.chosen, before)

    @property
    def lines(self) -> Sequence[Line]:
        held, cols = self.held, self.size.width - 4
        signs = ASCII_SIGNS if self.ascii_only else SIGNS
        if held.chosen is None:
            return []
        if isinstance(held.chosen, Alert):
            lines = alert_lines(held.chosen, held.before, signs, cols)
        else:
            lines = mark_lines(held.chosen, signs, cols)
        # Rather all of it close together than a part with air.
        return lines if len(lines) <= self.size.height - 2 else [line for line in lines if line]

    def note(self) -> tuple[str, str]:
        below = self.below()
        return "dim", f"{counted(below, 'line')} more: tab, then down" if below else ""

    def draw_line(self, canvas: Canvas) -> None:
        x = self.put_name(canvas)
        if self.chosen is not None:
            canvas.put(x, 0, _said(self.chosen), "dim")

    def draw_inside(self, canvas: Canvas) -> None:
        if self.held.chosen is None:
            canvas.centre("what is known of the chosen alert stands here")
            return
        super().draw_inside(canvas)


def alert_lines(alert: Alert, before: Alert | None, signs: dict[str, str], cols: int) -> list[Line]:
    """The whole alert in lines of so many cells."""
    lines: list[Line] = [
        ((alert.severity, f"{signs[alert.severity]} "), (f"bold {alert.severity}", title(alert)), ("dim", f"   {alert.severity}")),
        (),
        *((("ink", line),) for line in _folded(in_words(alert.message), cols)),
        (),
        _fact("known at", f"step {grouped(alert.step)}"),
    ]  # fmt: skip
    if began := since(alert):
        ago = alert.step - alert.onset_step
        lines.append(_fact("since", f"{began}, {counted(ago, 'step')} before" if ago else began))
    lines.append(_fact("confidence", "not said" if alert.confidence is None else percent(alert.confidence)))
    if alert.follows:
        known = (
            f"{title(before)} of step {grouped(before.step)}" if before else "an alert that is not kept here"
        )
        lines.append(_fact("follows", known))
    if alert.evidence:
        lines += [(), (("faint", "evidence"),)]
        width = min(max(cells(name) for name in alert.evidence), max(cols // 2 - 8, 8))
        for name, value in alert.evidence.items():
            lines += _evidence(name, value, width, cols)
    if alert.advice:
        lines += [(), (("faint", "advice"),), *((("good", line),) for line in _folded(alert.advice, cols))]
    return lines


def mark_lines(mark: Mark, signs: dict[str, str], cols: int) -> list[Line]:
    note = [(("ink", line),) for line in _folded(mark.note, cols)]
    who = "trains" if mark.seq else "watches"  # what travelled has a number
    return [(("good", f"{signs['good']} "), ("bold ink", "mark"), ("dim", f"   by the person who {who}")), (), *note, (),
            _fact("at", f"step {grouped(mark.step)}")]  # fmt: skip


def meaning(name: str) -> str:
    """What the registry says of a number, also of one such as "lowest val/acc"; empty when it knows none of it."""
    known = QUANTITIES.get(name) or next((QUANTITIES[w] for w in name.split() if w in QUANTITIES), None)
    if known is None:
        return ""
    unit = f", in {known.unit}" if known.unit not in ("", "1") else ""
    return f"{known.label}{unit}: {known.meaning}"


def _evidence(name: str, value: float, width: int, cols: int) -> list[Line]:
    shown = name if cells(name) <= width else name[: max(width - 1, 1)] + "…"
    head: Line = (("dim", f"  {shown}{' ' * (width - cells(shown))}  "), ("bold ink", f"{number(value):<9}"))
    room = cols - width - 13
    words = meaning(name)
    if not words:
        return [head]
    if room >= 30:
        first, *rest = _folded(words, room)
        indent = " " * (width + 13)
        return [(*head, ("faint", first)), *((("faint", indent + line),) for line in rest)]
    return [head, *((("faint", f"    {line}"),) for line in _folded(words, cols - 4))]


def _fact(label: str, words: str) -> Line:
    return ("faint", f"{label:<12}"), ("dim", words)


def _folded(words: str, cols: int) -> list[str]:
    return wrapped(words, max(cols, 8), _MOST_LINES)


def _said(entry: Alert | Mark) -> str:
    return in_words(entry.message) if isinstance(entry, Alert) else entry.note
