"""Everything that is known of a few quantities: value, doubt, course, method, definition, unit and source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType

from lsmon.protocol.counts import grouped
from lsmon.protocol.names import QUANTITIES, quantity

from ..examples import SOLVERS
from ..format import with_error
from ..side import Side, doubtful, volume_change
from ..view import Track, View
from ..wrapping import wrapped
from .canvas import Canvas, cells, fit, plain
from .panel import Scene
from .scrolled import Line, Scrolled

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("temperature", ("temperature", "equilibrium", "noise", "diffusion")),
    ("volume", ("volume", "ellipsoid")),
    ("sharpness", ("sharpness", "preconditioned", "along the gradient", "spectrum")),
    ("negative curvature", ("negative curvature", "fractions")),
    ("trainability", ("trainability",)),
    ("loss and accuracy", ("loss", "accuracy", "probe")),
)
"""Title, and the panels of the registry whose quantities it tells of. What a training logs itself comes last."""
OTHERS = "logged by the training"
_SENSORS = {
    "temperature": "temperature",
    "volume": "curvature",
    "sharpness": "curvature",
    "negative curvature": "curvature",
}
_SOLVED = ("hessian/max", "hessian/min", "hessian/preconditioned")
"""Eigenvalues, whose error is that of Lanczos."""
_LABEL = 16
_COURSE = 24


@dataclass(frozen=True, slots=True)
class Detailed:
    lines: tuple[Line, ...] = ()
    title: str = ""
    then: str = ""
    """The section that comes next."""


class DetailPanel(Scrolled):
    """One section at a time; scrolls."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_by(-1)", "Up", tooltip="One line up", id="detail_line_up"),
        Binding("down,j", "scroll_by(1)", "Down", tooltip="One line down", id="detail_line_down"),
        Binding("pageup", "scroll_by(-10)", "Page up", tooltip="Ten lines up", id="detail_page_up"),
        Binding("pagedown", "scroll_by(10)", "Page down", tooltip="Ten lines down", id="detail_page_down"),
    ]

    def __init__(self, name: str, section: str = "") -> None:
        super().__init__(name)
        self.section = section or SECTIONS[0][0]

    @property
    def held(self) -> Detailed:
        return self.content if isinstance(self.content, Detailed) else Detailed()

    @property
    def lines(self) -> Sequence[Line]:
        return self.held.lines

    def title(self) -> str:
        return f"{self.name}: {self.section}"

    def turn(self) -> None:
        self.section, self._top = self.held.then or SECTIONS[0][0], 0
        self.again()

    def pick(self, scene: Scene) -> Detailed:
        sections = [title for title, _ in SECTIONS] + [OTHERS] * bool(_others(scene.view))
        if self.section not in sections:
            self.section = sections[0]
        then = sections[(sections.index(self.section) + 1) % len(sections)]
        return Detailed(
            tuple(told(scene.view, self.section, max(self.size.width - 4, 20), scene.ascii_only)),
            self.section,
            then,
        )

    def note(self) -> tuple[str, str]:
        ink, more = super().note()
        return ink, "; ".join(filter(None, (more, f"c: {self.held.then}" if self.held.then else "")))

    def draw_line(self, canvas: Canvas) -> None:
        canvas.put(self.put_name(canvas), 0, self.section, "dim")

    def put(self, canvas: Canvas, x: int, y: int, ink: str, text: str) -> int:
        return self._course(canvas, x, y, text) if ink == "course" else super().put(canvas, x, y, ink, text)

    def _course(self, canvas: Canvas, x: int, y: int, name: str) -> int:
        scene = self.scene
        track = scene.view.series.get(name) if scene is not None else None
        if scene is None or track is None:
            return x
        from ..binning import binned
        from ..braille import sparkline

        curve = binned(track, scene.axis(_COURSE), 2 * _COURSE)
        line = sparkline(curve, _COURSE, log=quantity(name).log, ascii_only=self.ascii_only)
        return canvas.put(x, y, line, "soft curve0")


def told(view: View, section: str, cols: int, ascii_only: bool = False) -> list[Line]:
    """The lines of a section, no wider than so many cells: what was measured first, then what was not.

    In ASCII signs are spelled out before lines are folded, since that makes them longer."""
    panels = dict(SECTIONS).get(section, ())
    if section == OTHERS:
        names = _others(view)
    else:
        names = [name for name, known in QUANTITIES.items() if known.panel in panels and name != "regime"]
    measured = [name for name in names if name in view.series]
    lines: list[Line] = []
    for name in measured:
        lines += [*_known(view.series[name], cols, ascii_only), ()]
    if section == "volume":
        lines += [*_volume(view, cols, ascii_only), ()]
    missing = [name for name in names if name not in view.series]
    if missing:
        words = view.heartbeat.notes.get(_SENSORS.get(section, section), "")
        lines.append((("warning", "not measured" if view.ended else "not measured so far"),))
        if words:
            lines += _wrapped("why", words, cols, "dim", ascii_only)
        for name in missing:
            lines += _definition(name, cols, ascii_only, quantity(name).label)
    return lines


def section_of(panel: str) -> str:
    """Where the quantities of a panel are told."""
    return next((title for title, panels in SECTIONS if panel in panels), SECTIONS[0][0])


def _others(view: View) -> list[str]:
    return [name for name in view.series if name not in QUANTITIES]


def _known(track: Track, cols: int, ascii_only: bool) -> list[Line]:
    known = quantity(track.name)
    value = f"{with_error(track.value, track.error)} {_unit(known.unit)}"
    label = known.label
    if ascii_only:
        value, label = plain(value), plain(label)
    head: list[tuple[str, str]] = [
        ("bold ink", label + " " * (_LABEL - cells(label))),
        ("bold ink", f"{value:<24} "),
    ]
    if cols >= _LABEL + 25 + _COURSE + 16:
        head += [("course", track.name), ("faint", f"  step {grouped(track.step)}")]
    lines: list[Line] = [tuple(head)]
    solved = SOLVERS if track.name in _SOLVED and math.isfinite(track.error) else ""
    how = "; ".join(filter(None, (solved, track.words)))
    if how:
        lines += _wrapped("how", how, cols, "warning" if "unreliable" in how else "dim", ascii_only)
    return lines + _definition(track.name, cols, ascii_only)


def _unit(unit: str) -> str:
    return "" if unit in ("", "1") or unit.startswith("the unit") else unit


def _definition(name: str, cols: int, ascii_only: bool, label: str = "") -> list[Line]:
    known = quantity(name)
    lines = _wrapped(label, known.meaning, cols, "dim", ascii_only)
    unit = {"": "", "1": "no unit; "}.get(known.unit, f"in {known.unit}; ")
    return lines + _wrapped("", f"{unit}{known.source}; {name}", cols, "faint", ascii_only)


def _wrapped(label: str, words: str, cols: int, ink: str, ascii_only: bool) -> list[Line]:
    if ascii_only:
        label, words = plain(label), plain(words)
    room = max(cols - _LABEL, 12)
    lines = wrapped(words, room, 12, " ~" if ascii_only else " …") or [""]
    label = fit(label, _LABEL - 1, "~" if ascii_only else "…")
    heads = [label + " " * (_LABEL - cells(label)), *[" " * _LABEL] * (len(lines) - 1)]
    return [(("faint", head), (ink, line)) for head, line in zip(heads, lines, strict=True)]


def _volume(view: View, cols: int, ascii_only: bool) -> list[Line]:
    """How the valley has changed since the first measurement, and since each mark."""
    known = [item for item in view.spectra if item.log_volume is not None]
    if len(known) < 2:
        return []
    now = Side("now", view)
    since = [
        ("the first one", known[0].step),
        *((f"mark {mark.note[:20]!r}", mark.step) for mark in view.marks[-4:]),
    ]
    lines: list[Line] = []
    for words, step in since:
        found, why = volume_change(Side(words, view, step), now)
        if found is None:
            lines += _wrapped("change", f"since {words}: {why}", cols, "warning", ascii_only)
            continue
        does = "wider" if found.value > 0 else "narrower" if found.value < 0 else "as wide"
        said = f"{with_error(found.value, found.se)} nats since {words}: {does} ({why}){doubtful(found)}"
        lines += _wrapped("change", said, cols, "ink", ascii_only)
    return lines
