"""Curves of several quantities over the steps of the run, with their values and their doubt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from textual import events
from textual.message import Message

from lsmon.protocol.names import quantity

from ..examples import in_cells
from ..format import number, percent, with_error, with_share
from ..lens import SMOOTHING
from ..measured_at import measured_at, not_yet
from ..view import Track, read
from .canvas import Canvas
from .curve_content import Content, Look, doubt, reads_log
from .panel import Panel, Readout, Scene, put_readouts, shortened
from .plot import GUTTER, MOST_CURVES, Plot
from .value_axis import value_axis

_AXIS_ROWS = 7
"""From so many rows on, one of them goes to the labels of the steps."""
_NAME_ROWS = 10
"""From so many rows on, the edge is named on its line and not in the border."""


class CurvePanel(Panel):
    """One plot: loss, sharpness, temperature, accuracy, or whatever the training logs."""

    class Pointed(Message):
        """A click at a step, or the second of two."""

        def __init__(self, step: int, twice: bool) -> None:
            super().__init__()
            self.step, self.twice = step, twice

    class Wheeled(Message):
        """The mouse wheel, up (1) or down (-1)."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def __init__(self, name: str, look: Look) -> None:
        super().__init__(name)
        self.look = look
        self.scale_log: bool | None = None
        """Chosen by a key; None follows the quantity."""

    def toggle_log(self) -> None:
        held = self.content
        self.scale_log = not (held.log if isinstance(held, Content) else False)
        self.again()

    def on_click(self, event: events.Click) -> None:
        column = 2 * (event.x - 2 - GUTTER)
        if self.scene is None or not self.boxed or column < 0:
            return
        axis = self.held.axis
        step = self.scene.abscissa.step_at(axis.first + column * axis.width)
        view = self.scene.view
        self.post_message(self.Pointed(min(max(step, view.first_step), view.step), event.chain > 1))

    def on_mouse_scroll_up(self) -> None:
        self.post_message(self.Wheeled(1))

    def on_mouse_scroll_down(self) -> None:
        self.post_message(self.Wheeled(-1))

    @property
    def dots(self) -> int:
        """Columns of dots of the plot."""
        return 2 * self._plot_cols(self.size.width)

    @property
    def held(self) -> Content:
        return self.content if isinstance(self.content, Content) else Content(empty=self.look.empty)

    def pick(self, scene: Scene) -> Content:
        view, look = scene.view, self.look
        of_panel = scene.names.get(str(self.name), ())
        first = [name for name in look.names if name in view.series]
        apart = (look.edge, *look.spoken)
        names = [*first, *(name for name in of_panel if name not in first and name not in apart)]
        tracks = tuple(view.series[name] for name in names[:MOST_CURVES])
        spoken = tuple(view.series[name] for name in look.spoken if name in view.series)
        cols = self._plot_cols(self.size.width)
        axis = scene.axis(cols)
        ours = look.edge in view.series and look.edge_unless not in view.series
        edge = view.series[look.edge].value if ours else math.nan
        log = self.scale_log if self.scale_log is not None else reads_log(tracks)
        over, lens = scene.abscissa, scene.lens
        columns = {
            axis.column(over.event(alert.step, alert.wall)): alert.severity
            for alert in scene.alerts
            if alert.kind != "silent"
        }
        alerts = tuple(item for item in sorted(columns.items()) if 0 <= item[0] < 2 * cols)
        note = doubt((*tracks, *spoken))
        words = view.heartbeat.notes.get(look.sensor or str(self.name), "")
        if not tracks:
            empty = f"{look.sensor or self.name}: {words}" if words else look.empty
            return Content(empty=scene.in_time(empty))
        if words and not note[1]:
            note = ("dim", words)
        if len(names) > MOST_CURVES and not note[1]:
            note = ("dim", f"the first {MOST_CURVES} of {len(names)}")
        cursor = None if lens.cursor is None else axis.column(over.at(lens.cursor))
        if cursor is not None and not 0 <= cursor < 2 * cols:
            cursor = None
        missing = frozenset(track.name for track in (*tracks, *spoken) if not_yet(track, lens.cursor))
        if lens.cursor is not None:
            tracks = tuple(read(track, lens.cursor) for track in tracks)
            spoken = tuple(read(track, lens.cursor) for track in spoken)
        step = view.step if lens.cursor is None else lens.cursor
        ats = {track.name: measured_at(track, step, view.first_step) for track in (*tracks, *spoken)}
        tracks = tuple(over.over(track) for track in tracks)
        return Content(tracks, spoken, edge, axis, log, alerts, note, "", lens, cursor, ats, missing)

    def _plot_cols(self, width: int) -> int:
        return max(width - 4 - GUTTER, 4) if self.boxed else _spark_cols(width)

    # Words.

    def readouts(self) -> Sequence[Readout]:
        held = self.held
        said = [self._readout(track, index) for index, track in enumerate(held.tracks)]
        if math.isfinite(held.edge) and not held.edge_in_sight:
            where = " below" if held.edge < held.tallest else " above"
            said.append(Readout(quantity(self.look.edge).label, f"{number(held.edge)}{where}"))
        return [*said, *(self._readout(track, -1) for track in held.spoken)]

    def _readout(self, track: Track, curve: int) -> Readout:
        label, value, at = quantity(track.name).label, track.value, self.held.ats.get(track.name, "")
        if track.name in self.held.missing:
            return Readout("" if self.look.whole else label, "–", "", curve, dim=True)
        if self.look.share:
            return Readout(label, percent(value), "", curve)
        if self.look.whole:
            words = f"≥ {value:.0f} {'direction' if value == 1 else 'directions'}"
            return Readout(
                "", words if value > 0 else "none found", f"≥ {value:.0f}" if value > 0 else "", curve, at=at
            )
        full, compact = with_error(value, track.error), with_share(value, track.error)
        return Readout(label, full, compact, curve, warn=not math.isfinite(value), at=at)

    def note(self) -> tuple[str, str]:
        held = self.held
        ink, words = held.note
        if self._edge_below(held) and not (words and ink != "dim"):
            edge = f"{'.' if self.ascii_only else '╌'} {self._edge_words(held)}"
            ink, words = "warning", f"{edge}; {words}" if words else edge
        return ink, in_cells(words, self.size.width - 6)

    def _edge_words(self, held: Content) -> str:
        return f"{quantity(self.look.edge).label} {number(held.edge)}"

    def _edge_below(self, held: Content) -> bool:
        """Whether the edge is named in the lower border: in a low panel the curves leave it no room."""
        return self.size.height < _NAME_ROWS and held.edge_in_sight

    # Drawing.

    def draw_line(self, canvas: Canvas) -> None:
        held, y = self.held, 0
        x = self.put_name(canvas)
        if held.empty or not held.tracks:
            canvas.put(x, y, held.empty, "dim")
            return
        # What counts in a line of shares is the last of them: accuracy on data held out.
        lead = len(held.tracks) - 1 if self.look.share else 0
        said = self.said
        said = [said[lead], *said[:lead], *said[lead + 1 :]]
        if canvas.cols >= 50:
            from ..binning import binned
            from ..braille import sparkline

            cols = _spark_cols(canvas.cols)
            curve = binned(held.tracks[lead], held.axis, 2 * cols)
            line = sparkline(curve, cols, log=held.log, ascii_only=self.ascii_only)
            x = canvas.put(x, y, line, f"soft curve{lead}") + 2
        put_readouts(canvas, x, y, shortened(said, canvas.cols - x - 1), self.ascii_only)

    def draw_inside(self, canvas: Canvas) -> None:
        held = self.held
        if held.empty or not held.tracks:
            canvas.centre(held.empty)
            return
        top = 0
        if not self.titled:
            put_readouts(canvas, 0, 0, shortened(self.said, canvas.cols), self.ascii_only)
            top = 1
        bottom = canvas.rows - (1 if canvas.rows - top >= _AXIS_ROWS else 0)
        rows, cols = bottom - top, canvas.cols - GUTTER
        if rows < 1 or cols < 4:
            return
        from ..columns import smoothed

        radius = SMOOTHING[held.lens.smoothing] * 2 * cols
        curves = [
            smoothed(self.binnings.columns(track, held.axis, 2 * cols), radius) for track in held.tracks
        ]
        values = value_axis(held, self.look, curves, max(2, rows // 3))
        if isinstance(values, str):
            canvas.centre(values)
            return
        plot = Plot(canvas, top, rows, self.ascii_only, held.lens.blocks)
        plot.curves(curves, values, band=not self.look.share)
        plot.value_labels(values, share=self.look.share)
        if bottom < canvas.rows:
            plot.step_labels(held.axis, held.lens.kind)
        plot.marks(held.alerts)
        if held.cursor is not None:
            plot.cursor(held.cursor)
        plot.zero(values)
        if held.edge_in_sight:
            plot.edge(values, held.edge, "" if self._edge_below(held) else self._edge_words(held))


def _spark_cols(cols: int) -> int:
    """The course in a line: a third of it, the rest is for the name and the values."""
    return max(cols // 3, 1)


class NegativePanel(CurvePanel):
    """Certified negative directions, with what they were measured on."""

    def pick(self, scene: Scene) -> Content:
        content = super().pick(scene)
        curvature = scene.view.curvature
        if content.empty == scene.in_time(self.look.empty) and "hessian/max" in scene.view.series:
            words = "λ_min is not measured yet: it takes more products than λ_max alone"
            return replace(content, empty=scene.in_time(words))
        if not content.tracks or content.note[1] or not curvature.lanczos_steps:
            return content
        parts = [f"{curvature.lanczos_steps} Lanczos steps"]
        if curvature.batch:
            parts.append(f"{curvature.batch} examples")
        return replace(content, note=("dim", ", ".join(parts)))
