"""One quantity of several runs in one plot, each in its colour and its dash."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lsmon.protocol.names import quantity

from ..axes import UNIT, StepAxis, ValueAxis
from ..format import duration, number, percent, short, with_error, with_share
from ..measured_at import measured_at
from ..side import Side
from ..view import Track
from .canvas import Canvas
from .panel import Panel, Readout, put_readouts, shortened
from .plot import GUTTER, Plot
from .value_axis import between, blank

MOST_SIDES = 4
"""More curves in one plot cannot be told apart."""
_LABEL_CELLS = 10


@dataclass(frozen=True, slots=True)
class Overlaid:
    tracks: tuple[Track | None, ...] = ()
    """One a side, aligned; None where a side has none."""
    axis: StepAxis = UNIT
    how: str = "step"
    log: bool = False
    name: str = ""
    ats: tuple[str, ...] = ()
    """The step each value was measured at, where that is not the last one of its side."""


class OverlayPanel(Panel):
    """``name`` of the widget is its place; the quantity in it is chosen by the screen."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._log: dict[str, bool] = {}
        self._told: tuple[object, ...] = ()

    @property
    def held(self) -> Overlaid:
        return self.content if isinstance(self.content, Overlaid) else Overlaid()

    def tell(self, name: str, sides: Sequence[Side], how: str) -> None:
        cols = max(self.size.width - 4 - GUTTER, 4)
        told = (name, how, cols, self._log.get(name), *((side.view, side.origin) for side in sides))
        if len(told) == len(self._told) and all(
            a is b or a == b for a, b in zip(told, self._told, strict=True)
        ):
            return
        self._told = told
        tracks = tuple(side.aligned(name, how) for side in sides[:MOST_SIDES])
        log = self._log.get(
            name, quantity(name).log and all(track.buckets.lowest > 0 for track in tracks if track)
        )
        ats = tuple(
            measured_at(track, side.view.step, side.view.first_step) if track else ""
            for track, side in zip(tracks, sides, strict=False)
        )
        content = Overlaid(tracks, _over(tracks, 2 * cols), how, log, name, ats)
        if content != self.content:
            self.content = content
            self.redraw()

    def toggle_log(self) -> None:
        held = self.held
        self._log[held.name] = not held.log

    def title(self) -> str:
        return quantity(self.held.name).label if self.held.name else ""

    def readouts(self) -> Sequence[Readout]:
        if quantity(self.held.name).panel == "accuracy":
            shares = enumerate(self.held.tracks)
            return [
                Readout("", percent(track.value), "", index) for index, track in shares if track is not None
            ]
        return [
            Readout(
                "", with_error(track.value, track.error), with_share(track.value, track.error), index, at=at
            )
            for index, (track, at) in enumerate(zip(self.held.tracks, self.held.ats, strict=False))
            if track is not None
        ]

    def draw_line(self, canvas: Canvas) -> None:
        x = canvas.put(0, 0, f" {self.title():<12.12} ", "dim")
        put_readouts(canvas, x, 0, shortened(self.said, canvas.cols - x - 1), self.ascii_only)

    def draw_inside(self, canvas: Canvas) -> None:
        held = self.held
        present = [track for track in held.tracks if track is not None]
        if not present:
            words = (
                f"no {self.title()} to align by the loss" if held.how == "loss" else f"no {self.title()} here"
            )
            canvas.centre(words)
            return
        top = 0
        if not self.titled:
            put_readouts(canvas, 0, 0, shortened(self.said, canvas.cols), self.ascii_only)
            top = 1
        rows, cols = canvas.rows - top - 1, canvas.cols - GUTTER
        if rows < 1 or cols < 4:
            return
        from ..binning import binned

        nothing = Track(held.name)
        curves = [binned(nothing if track is None else track, held.axis, 2 * cols) for track in held.tracks]
        values = _values(held, present, max(2, rows // 3))
        if isinstance(values, str):
            canvas.centre(values)
            return
        plot = Plot(canvas, top, rows, self.ascii_only)
        plot.curves(curves, values, band=False)
        plot.value_labels(values, share=quantity(held.name).panel == "accuracy")
        plot.zero(values)
        say, ticks = sayer(held.how), held.axis.ticks(2 * cols, max(cols // _LABEL_CELLS, 1))
        canvas.labels(
            top + rows, GUTTER, [(GUTTER + held.axis.column(tick) // 2, say(tick)) for tick in ticks]
        )


def sayer(how: str) -> Callable[[float], str]:
    """Words for a place on the axis of this alignment."""
    if how == "time":
        return duration
    if how == "loss":
        return lambda place: number(10.0**-place, 2) if abs(place) < 300 else ""
    return short


_FAR = 1e307
"""No axis goes further on either side: where one reads a loss, that may be as large as a float can be."""


def _over(tracks: Sequence[Track | None], dots: int) -> StepAxis:
    ends = [(places[0], places[-1]) for track in tracks if track and (places := _finite(track))]
    if not ends:
        return UNIT
    first, last = max(min(low for low, _ in ends), -_FAR), min(max(high for _, high in ends), _FAR)
    # StepAxis rounds its width up to a step, which time has and a logarithm has not.
    return (
        StepAxis(first, max(last - first, 1e-9) / max(dots - 1, 1))
        if last - first < dots
        else StepAxis.over(first, last, dots)
    )


def _finite(track: Track) -> list[float]:
    return sorted(place for place in array("d", track.steps) if math.isfinite(place))


def _values(held: Overlaid, tracks: Sequence[Track], labels: int) -> ValueAxis | str:
    """The axis, or why there is nothing to draw on one."""
    panel = quantity(held.name).panel
    every = [value for track in tracks for part in (track.lows, track.highs) for value in array("d", part)]
    finite = [value for value in every if math.isfinite(value)]
    every = [value for value in finite if value > 0 or not held.log]
    if not every:
        return blank(tracks, min(finite, default=math.nan), max(finite, default=math.nan))
    return between(
        min(every), max(every), labels,
        log=held.log, share=panel == "accuracy", whole=panel == "negative curvature",
    )  # fmt: skip
