"""A frame with a title, what is in it, and its one-line form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from textual.reactive import reactive

from lsmon.protocol.frames import Alert

from ..abscissa import STEPS, Abscissa
from ..axes import StepAxis
from ..lens import LENS, Lens
from ..view import View
from .canvas import Canvas, cells, cut, fit, plain
from .drawn import Drawn

if TYPE_CHECKING:
    from ..binning import Binnings

_ROUND = {"h": "─", "v": "│", "nw": "╭", "ne": "╮", "sw": "╰", "se": "╯"}
_ASCII = {"h": "-", "v": "|", "nw": "+", "ne": "+", "sw": "+", "se": "+"}
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"


@dataclass(frozen=True, slots=True)
class Readout:
    """A value beside its label, in its curve's colour and dash."""

    label: str
    value: str
    compact: str = ""
    """The value in fewer cells, for where the whole does not fit."""
    curve: int = -1
    """Index of the curve that it belongs to; -1 for none."""
    warn: bool = False
    at: str = ""
    """The step it was measured at, where that is not the one that is shown."""
    dim: bool = False
    """It is of another step than the one that is shown, which there is no room to name."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a panel needs besides the view."""

    view: View
    alerts: Sequence[Alert]
    names: Mapping[str, Sequence[str]]
    """Panel → the series that belong to it."""
    ascii_only: bool = False
    lens: Lens = LENS
    abscissa: Abscissa = STEPS
    """What the lens looks over, in this view."""
    over: bool = False
    """Whether nothing more will come."""

    def in_time(self, words: str) -> str:
        """What has not come by the end will not."""
        if not self.over:
            return words
        return words.replace("is not measured yet", "was not measured").replace(" yet", "")

    def axis(self, cols: int) -> StepAxis:
        """The axis of a curve of so many cells."""
        return self.lens.axis(self.view, self.abscissa, 2 * max(cols, 1))


class Panel(Drawn, can_focus=True):
    """``pick`` takes from the scene what the panel shows; it is drawn again only when that has changed."""

    boxed: reactive[bool] = reactive(True)
    """As a frame, or as one line."""
    number: reactive[int] = reactive(0)
    """The key that enlarges it; 0 for none."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.content: object = None
        self.scene: Scene | None = None
        self.said: Sequence[Readout] = ()
        """The read-outs of this drawing, in characters that the terminal has."""
        self.titled = False
        """Whether they stand in the upper border of it."""

    @cached_property
    def binnings(self) -> Binnings:
        """What its curves were binned to, for the next drawing."""
        from ..binning import Binnings  # not before: the first paint needs no numpy

        return Binnings()

    def pick(self, scene: Scene) -> object:
        """The content: a value that compares."""
        raise NotImplementedError

    def show(self, scene: Scene) -> None:
        self.scene = scene
        self.ascii_only = scene.ascii_only
        content = self.pick(scene)
        if content != self.content:
            self.content = content
            self.redraw()

    def forget(self) -> None:
        """Let go of what it shows, which stays drawn until it is shown something again."""
        self.scene = self.content = None

    def fit(self) -> None:
        if self.scene is not None:
            self.content = self.pick(self.scene)

    def again(self) -> None:
        """Pick and draw anew: the size, the focus or a setting has changed."""
        self.fit()
        self.redraw()

    def on_resize(self) -> None:
        self.again()

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()

    def watch_boxed(self) -> None:
        self.again()

    def watch_number(self) -> None:
        self.redraw()

    # Drawing.

    def put_name(self, canvas: Canvas) -> int:
        """The name at the head of the one-line form; gives the column after it."""
        width = 18 if canvas.cols >= 50 else 12
        return canvas.put(0, 0, f" {self.name!s:<{width}.{width}} ", "bold ink" if self.has_focus else "dim")

    def draw(self, canvas: Canvas) -> None:
        self.said = self._spelled()
        if not self.boxed or canvas.rows < 3:
            self.draw_line(canvas)
            return
        self.titled = bool(self.said) and readouts_width(self.said) <= canvas.cols - cells(self.title()) - 9
        self._frame(canvas)
        inside = Canvas(canvas.cols - 4, canvas.rows - 2, ascii_only=self.ascii_only)
        self.draw_inside(inside)
        for y in range(inside.rows):
            canvas.text[y + 1][2:-2] = inside.text[y]
            canvas.inks[y + 1][2:-2] = inside.inks[y]

    def draw_line(self, canvas: Canvas) -> None:
        raise NotImplementedError

    def draw_inside(self, canvas: Canvas) -> None:
        raise NotImplementedError

    def title(self) -> str:
        """In the upper border."""
        return str(self.name)

    def readouts(self) -> Sequence[Readout]:
        """Shown in the upper border, or where they do not fit, in the first line inside."""
        return ()

    def note(self) -> tuple[str, str]:
        """(ink, words) for the lower border: method, doubt, trouble."""
        return "dim", ""

    def _frame(self, canvas: Canvas) -> None:
        glyphs = _ASCII if self.ascii_only else _ROUND
        ink = "focus" if self.has_focus else "rule"
        last, right = canvas.rows - 1, canvas.cols - 1
        across = [glyphs["h"]] * (right - 1)
        canvas.text[0] = [glyphs["nw"], *across, glyphs["ne"]]
        canvas.text[last] = [glyphs["sw"], *across, glyphs["se"]]
        canvas.inks[0], canvas.inks[last] = [ink] * canvas.cols, [ink] * canvas.cols
        for text, inks in zip(canvas.text[1:last], canvas.inks[1:last], strict=True):
            text[0] = text[right] = glyphs["v"]
            inks[0] = inks[right] = ink
        x = canvas.put(1, 0, " ", ink)
        if self.number:
            key = str(self.number) if self.ascii_only else _RAISED[self.number]
            x = canvas.put(x, 0, key, "faint")
        x = canvas.put(x, 0, fit(self.title(), right - 6), "bold ink" if self.has_focus else "ink")
        canvas.put(x, 0, " ", ink)
        if self.titled:
            put_readouts(
                canvas, right - 2 - readouts_width(self.said), 0, self.said, self.ascii_only, pad=True
            )
        ink, words = self.note()
        if words:
            words = plain(words) if self.ascii_only else words
            words = f" {cut(words, right - 5, '~' if self.ascii_only else '…')} "
            canvas.put(right - 1 - cells(words), last, words, ink)

    def _spelled(self) -> Sequence[Readout]:
        said = self.readouts()
        if not self.ascii_only:
            return said
        return [
            replace(item, label=plain(item.label), value=plain(item.value), compact=plain(item.compact))
            for item in said
        ]


def shortened(said: Sequence[Readout], room: int) -> Sequence[Readout]:
    """The fullest form that fits: in fewer cells, without the step of the newest, without what has no curve, without any
    step, without the last curves.

    A value keeps its error to the end: rather one value less than a value without its doubt.
    """
    compact = [replace(item, value=item.compact or item.value) for item in said]
    stepless = _stepless(compact)
    drawn = [item for item in stepless if item.curve >= 0] or stepless[:1]
    undated = [replace(item, at="", dim=item.dim or bool(item.at)) for item in drawn]
    fewer = (drawn[:count] for count in range(len(drawn) - 1, 0, -1))
    for form in (said, compact, stepless, drawn, undated, *fewer):
        if readouts_width(form) <= room:
            return form
    # Of a name as long as a line its value is left; a number cut in half would be another number.
    for item in drawn[:1]:
        left = room - readouts_width([replace(item, label="")]) - 1
        if left > 1:
            return [replace(item, label=fit(item.label, left))]
    return []


def _stepless(said: Sequence[Readout]) -> list[Readout]:
    """Without the step of those that are as new as any of them: dim says that it is not the one shown."""
    curves = [item.at for item in said if item.curve >= 0]
    newest = "" if "" in curves else max(curves, key=lambda at: (len(at), at), default="")
    return [replace(item, at="", dim=True) if item.at and item.at == newest else item for item in said]


def readouts_width(said: Sequence[Readout]) -> int:
    return sum(
        (2 if item.curve >= 0 else 0)
        + cells(item.label)
        + bool(item.label)
        + cells(item.value)
        + bool(item.at)
        + cells(item.at)
        for item in said
    ) + 2 * max(len(said) - 1, 0)


def dash(curve: int, ascii_only: bool) -> str:
    """The sign of a curve beside its values, as ``braille.plot`` draws its line."""
    return ("*o+x" if ascii_only else "━╍┅┉")[min(curve, 3)]


def put_readouts(
    canvas: Canvas, x: int, y: int, said: Sequence[Readout], ascii_only: bool, *, pad: bool = False
) -> int:
    """``━ train 0.02  ┅ val 1.3``"""
    if pad and said:
        canvas.put(x - 1, y, " ")
    for index, item in enumerate(said):
        if index:
            x = canvas.put(x, y, "  ")
        if item.curve >= 0:
            x = canvas.put(x, y, dash(item.curve, ascii_only), f"curve{item.curve}")
            x = canvas.put(x, y, " ")
        if item.label:
            x = canvas.put(x, y, f"{item.label} ", "dim")
        x = canvas.put(
            x, y, item.value, "bold warning" if item.warn else "dim" if item.at or item.dim else "bold ink"
        )
        if item.at:
            x = canvas.put(x, y, f" {item.at}", "faint")
    if pad and said:
        canvas.put(x, y, " ")
    return x
