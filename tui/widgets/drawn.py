"""The widget under every widget here: draws on a Canvas and repaints only the cells that changed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.filter import ANSIToTruecolor
from textual.geometry import NULL_OFFSET, Offset, Region, Size
from textual.strip import Strip
from textual.widget import Widget

from ..themes import Palette, palette_for
from .canvas import Canvas


class Drawn(Widget):
    """Subclasses fill a canvas in ``draw`` and call ``redraw`` when what they show has changed."""

    ascii_only = False
    """No character beyond ASCII in frames and curves: for terminals that cannot show them."""

    _canvas: Canvas | None = None
    _strips: Sequence[Strip] = ()
    _palette: Palette | None = None

    @property
    def palette(self) -> Palette:
        return palette_for(self.app.current_theme)

    @property
    def size(self) -> Size:
        """As it was laid out: nothing here has a border or a padding of Textual's, and Textual looks for them each time."""
        return self.outer_size

    @property
    def content_offset(self) -> Offset:
        return NULL_OFFSET

    def draw(self, canvas: Canvas) -> None:
        raise NotImplementedError

    def fit(self) -> None:
        """What ``draw`` shows is made for the present size; a paint may come before the news that there is another."""

    def redraw(self) -> None:
        """Draw anew and ask for a repaint of the difference."""
        size = self.size
        if not size or not self.display:
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
            strips = list(self._strips)
            for region in regions:
                strips[region.y] = canvas.strip(region.y, palette.style)
            self._canvas, self._strips = canvas, strips
            self.refresh(*regions)

    def _paint(self, canvas: Canvas, palette: Palette) -> None:
        self._canvas, self._palette = canvas, palette
        self._strips = [canvas.strip(y, palette.style) for y in range(canvas.rows)]

    def render_lines(self, crop: Region) -> list[Strip]:
        """Without what Textual does for borders, padding, tints and links, none of which is here: a third of a paint."""
        size = self.size
        strips = list(self._drawn(size)[crop.y : crop.bottom])
        strips += [Strip.blank(size.width, Style())] * (crop.height - len(strips))
        if crop.x or crop.width != size.width:
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        for each in self.get_line_filters():
            if not isinstance(each, ANSIToTruecolor):  # our colours are true ones already
                ground = self.background_colors[1]
                strips = [strip.apply_filter(each, ground) for strip in strips]
        return strips

    def render_line(self, y: int) -> Strip:
        return self.render_lines(Region(0, y, self.size.width, 1))[0]

    def _drawn(self, size: Size) -> Sequence[Strip]:
        """All lines, drawn or painted anew where the size or the theme is another."""
        canvas, palette = self._canvas, self.palette
        if canvas is None or (canvas.cols, canvas.rows) != (size.width, size.height):
            canvas = Canvas(size.width, size.height, ascii_only=self.ascii_only)
            self.fit()
            self.draw(canvas)
            self._paint(canvas, palette)
        elif self._palette is not palette:
            self._paint(canvas, palette)
        return self._strips
