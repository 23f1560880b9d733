"""Keys and mouse that change how the curves are looked at: over what, how much of it, how smooth, and the cursor."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from ..feed import Feed
from ..lens import LENS, Lens
from ..widgets.curve import CurvePanel
from .watching import Watching


class Looking(Watching):
    """Subclasses draw with ``lens``, and draw anew when ``look`` has changed it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "abscissa", "X axis", tooltip="Over steps, time since the start, clock, tokens", id="abscissa"),
        Binding("z", "zoom(1)", "Zoom in", tooltip="Half as much of the run, up to the newest", id="zoom_in"),
        Binding("Z", "zoom(-1)", "Zoom out", tooltip="Twice as much of the run", id="zoom_out"),
        Binding("b", "pan(-1)", "Pan back", tooltip="Half a window back, where zoomed", id="pan_back"),
        Binding("f", "pan(1)", "Pan on", tooltip="Half a window forward; at the end it follows", id="pan_on"),
        Binding("w", "smooth", "Smooth", tooltip="Smooth the lines, a little, more, not at all", id="smooth"),
        Binding("u", "usual", "Usual", tooltip="Leave outliers outside, or let all in", id="usual"),
        Binding("g", "glyphs", "Glyphs", tooltip="Curves of braille dots or of half blocks", id="glyphs"),
        Binding("i", "cursor", "Cursor", tooltip="Read all panels at one step; ← → move it", id="cursor"),
    ]  # fmt: skip

    def __init__(self, feed: Feed, *, ascii_only: bool = False) -> None:
        super().__init__(feed, ascii_only=ascii_only)
        self.lens = LENS

    @property
    def cursor(self) -> int | None:
        return self.lens.cursor

    def look(self, lens: Lens) -> None:
        """Look through this lens from now on."""
        raise NotImplementedError

    def dots(self) -> int:
        """Columns of dots of the plot that counts."""
        raise NotImplementedError

    def unlook(self) -> bool:
        """Takes back the cursor, else the zoom; whether there was one."""
        lens = self.lens
        if lens.cursor is None and not lens.zoom:
            return False
        self.look(replace(lens, cursor=None) if lens.cursor is not None else replace(lens, zoom=0, end=None))
        return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The arrows move the cursor where there is one, also on a live run."""
        if action == "seek_by" and self.lens.cursor is not None:
            return True
        return super().check_action(action, parameters)

    def action_seek_by(self, share: float) -> None:
        if self.lens.cursor is None:
            super().action_seek_by(share)
        else:
            self.look(self.lens.pointed(self.feed.view, round(share * 100), self.dots()))

    def action_abscissa(self) -> None:
        self.look(self.lens.turned(self.feed.view))

    def action_zoom(self, by: int) -> None:
        self.look(self.lens.zoomed(by))

    def action_pan(self, direction: int) -> None:
        self.look(self.lens.panned(self.feed.view, direction, self.dots()))

    def action_smooth(self) -> None:
        self.look(self.lens.smoother())

    def action_usual(self) -> None:
        self.look(replace(self.lens, usual=not self.lens.usual))

    def action_glyphs(self) -> None:
        self.look(replace(self.lens, blocks=not self.lens.blocks))

    def action_cursor(self) -> None:
        if self.lens.cursor is None:
            self.look(self.lens.pointed(self.feed.view, 0, self.dots()))
        else:
            self.look(replace(self.lens, cursor=None))

    @on(CurvePanel.Pointed)
    def _pointed(self, message: CurvePanel.Pointed) -> None:
        if message.twice or self.lens.cursor is not None:
            self.look(replace(self.lens, cursor=message.step))

    @on(CurvePanel.Wheeled)
    def _wheeled(self, message: CurvePanel.Wheeled) -> None:
        self.look(self.lens.zoomed(message.by))
