"""The widget under every widget here: draws on a Canvas and repaints only the cells that changed."""

from __future__ import annotations

from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from ..themes import Palette, palette_for
from .canvas import Canvas


class Drawn(Widget):
    """Subclasses fill a canvas in ``draw`` and call ``redraw`` when what they show has changed."""

    ascii_only = False
    """No character beyond ASCII in frames and curves: for terminals that cannot show them."""

    _canvas: Canvas | None = None
    _strips: tuple[Strip, ...] = ()
    _palette: Palette | None = None

    @property
    def palette(self) -> Palette:
        return palette_for(self.app.current_theme)

    def draw(self, canvas: Canvas) -> None:
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw anew and ask for a repaint of the difference."""
        size = self.size
        if not size:
            return
        canvas = Canvas(size.width, size.height, ascii_only=self.ascii_only)
        self.draw(canvas)
        before, palette = self._canvas, self.palette
        same_size = before is not None and (before.cols, before.rows) == (canvas.cols, canvas.rows)
        if before is None or not same_size or palette is not self._palette:
            self._paint(canvas, palette)
            self.refresh()
            return
        regions = canvas.changes(before)
        if regions:
            self._paint(canvas, palette)
            self.refresh(*regions)

    def _paint(self, canvas: Canvas, palette: Palette) -> None:
        self._canvas, self._palette = canvas, palette
        self._strips = tuple(canvas.strips(palette.style))

    def render_line(self, y: int) -> Strip:
        canvas = self._canvas
        size = self.size
        if canvas is None or (canvas.cols, canvas.rows) != (size.width, size.height):
            canvas = Canvas(size.width, size.height, ascii_only=self.ascii_only)
            self.draw(canvas)
            self._paint(canvas, self.palette)
        elif self._palette is not self.palette:
            self._paint(canvas, self.palette)
        return self._strips[y] if y < len(self._strips) else Strip.blank(size.width, Style())
