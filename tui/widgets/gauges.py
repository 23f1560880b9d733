"""Several quantities of different units below each other: label, course, value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lsmon.protocol.names import quantity
from lsmon.protocol.regime import NORMAL

from ..axes import UNIT, StepAxis
from ..format import number, percent
from ..measured_at import measured_at, not_yet
from ..view import Track, read
from ..wrapping import wrapped
from .canvas import Canvas, cells, plain
from .panel import Panel, Scene

_FIRST = (
    "grad/norm", "weight/norm", "update/ratio", "lr", "stability/ratio", "clip/rate",
    "layers/activation_slope", "layers/gradient_slope", "layers/dead", "weight/drift",
)  # fmt: skip
_SHARES = ("clip/rate", "layers/dead")
_REGIME = "regime"
"""Told in words, not as a course."""
_VALUE = 7
"""The widest that ``number`` gets: −1.23e-3 is rare enough to touch its sparkline."""


@dataclass(frozen=True, slots=True)
class Gauges:
    tracks: tuple[Track, ...] = ()
    axis: StepAxis = UNIT
    note: tuple[str, str] = ("dim", "")
    empty: str = ""
    old: frozenset[str] = frozenset()
    """Quantities whose value is not of the step that is shown."""
    missing: frozenset[str] = frozenset()
    """Quantities of which nothing had come at the step that is read."""

    def said(self, track: Track) -> str:
        if track.name in self.missing:
            return "–"
        return percent(track.value) if track.name in _SHARES else number(track.value)


class GaugesPanel(Panel):
    """Trainability: gradient, weights, update, learning rate."""

    empty = "gradient, weights and update: nothing measured yet"

    @property
    def held(self) -> Gauges:
        return self.content if isinstance(self.content, Gauges) else Gauges(empty=self.empty)

    def pick(self, scene: Scene) -> Gauges:
        view = scene.view
        names = sorted(
            scene.names.get(str(self.name), ()),
            key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST),
        )
        words = view.heartbeat.notes.get("scale", "")
        tracks = tuple(view.series[name] for name in names if name != _REGIME)
        missing = frozenset(track.name for track in tracks if not_yet(track, scene.lens.cursor))
        if scene.lens.cursor is not None:
            tracks = tuple(read(track, scene.lens.cursor) for track in tracks)
        tracks = tuple(map(scene.abscissa.over, tracks))
        if not tracks:
            return Gauges(empty=scene.in_time(words or self.empty))
        note = ("dim", words)
        regime = view.series[_REGIME].words if _REGIME in names else ""
        if regime:
            note = ("dim" if regime.partition(":")[0] in NORMAL else "warning", regime)
        for track in tracks:
            if track.name in missing:
                continue
            if not math.isfinite(track.value):
                note = ("critical", f"{quantity(track.name).label} is {number(track.value)}")
            elif track.words and not note[1] and not track.name.startswith("layers/"):
                note = ("warning", f"{quantity(track.name).label}: {track.words}")
        step = view.step if scene.lens.cursor is None else scene.lens.cursor
        old = frozenset(track.name for track in tracks if measured_at(track, step, view.first_step))
        axis = scene.axis(_course(tracks, self.size.width - 4))
        return Gauges(tracks, axis, note, old=old, missing=missing)

    def note(self) -> tuple[str, str]:
        if self._folded():
            return "dim", ""
        ink, words = self.held.note
        # The regime is whole without its reasons, which the enlarged panel tells.
        return ink, words if cells(words) <= self.size.width - 6 else words.partition(": ")[0]

    def _folded(self) -> list[str]:
        """The note in lines for below the gauges, where it is longer than the border and there is room for it."""
        words, cols = self.held.note[1], self.size.width - 4
        if not self.held.tracks or cells(words) <= cols - 2 or cols < 8:
            return []
        lines = wrapped(plain(words) if self.ascii_only else words, cols)
        return lines if len(self.held.tracks) + 1 + len(lines) <= self.size.height - 2 else []

    def draw_line(self, canvas: Canvas) -> None:
        held = self.held
        x = self.put_name(canvas)
        if not held.tracks:
            canvas.put(x, 0, held.empty, "dim")
            return
        for track in held.tracks:
            value = held.said(track)
            words = f"{quantity(track.name).label} {value}"
            if x + len(words) > canvas.cols:
                break
            x = canvas.put(x, 0, f"{quantity(track.name).label} ", "dim")
            x = canvas.put(x, 0, f"{value}  ", "ink")

    def draw_inside(self, canvas: Canvas) -> None:
        held = self.held
        if not held.tracks:
            canvas.centre(held.empty)
            return
        from ..braille import sparkline

        cols, label = _course(held.tracks, canvas.cols), _label(held.tracks)
        said = self._folded()
        for y, line in enumerate(said, start=canvas.rows - len(said)):
            canvas.put(0, y, line, held.note[0])
        rows = canvas.rows - len(said) - bool(said)
        shown = held.tracks[:rows]
        # Air between the lines as far as there is room for all of them.
        pitch = 2 if len(shown) * 2 - 1 <= rows else 1
        top = max((rows - (len(shown) * pitch - pitch + 1)) // 2, 0) if pitch == 1 else 0
        for index, track in enumerate(shown):
            known, y = quantity(track.name), top + index * pitch
            canvas.put(0, y, known.label, "dim", end=label)
            if cols >= 4:
                curve = self.binnings.columns(track, held.axis, 2 * cols)
                line = sparkline(curve, cols, log=known.log, ascii_only=self.ascii_only)
                canvas.put(label + 1, y, line, "soft curve0")
            ink = "dim" if track.name in held.old else "bold ink"
            ink = ink if math.isfinite(track.value) or track.name in held.missing else "bold critical"
            value = held.said(track)
            canvas.put(canvas.cols - len(value), y, value, ink)


def _label(tracks: Sequence[Track]) -> int:
    return min(max(len(quantity(track.name).label) for track in tracks), 12)


def _course(tracks: Sequence[Track], cols: int) -> int:
    """Cells left for the sparklines between the labels and the values, the same for all."""
    return max(cols - _label(tracks) - _VALUE - 2, 0)
