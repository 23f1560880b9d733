"""A frame over lines of which not all fit: scrolls by lines, with the wheel too, and says how many are below."""

from __future__ import annotations

from collections.abc import Sequence

from lsmon.protocol.counts import counted

from .canvas import Canvas
from .panel import Panel

Line = tuple[tuple[str, str], ...]
"""(ink, text) side by side."""

ALL = 1 << 30
"""Lines to scroll by to come to an end."""


class Scrolled(Panel):
    """Subclasses have ``lines`` and bind keys to ``scroll_by``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._top = 0

    @property
    def lines(self) -> Sequence[Line]:
        """All of them, folded for the width that there is."""
        raise NotImplementedError

    def action_scroll_by(self, by: int) -> None:
        self._top = min(max(self._top + by, 0), max(len(self.lines) - self._rows, 0))
        self.redraw()

    def on_mouse_scroll_up(self) -> None:
        self.action_scroll_by(-1)

    def on_mouse_scroll_down(self) -> None:
        self.action_scroll_by(1)

    def note(self) -> tuple[str, str]:
        below = self.below()
        return "dim", f"{counted(below, 'line')} more below" if below else ""

    def draw_line(self, canvas: Canvas) -> None:
        self.put_name(canvas)

    def draw_inside(self, canvas: Canvas) -> None:
        lines = self.lines
        self._top = min(self._top, max(len(lines) - canvas.rows, 0))
        for y, line in enumerate(lines[self._top : self._top + canvas.rows]):
            x = 0
            for ink, text in line:
                x = self.put(canvas, x, y, ink, text)

    def put(self, canvas: Canvas, x: int, y: int, ink: str, text: str) -> int:
        """One part of a line; gives the column after it."""
        return canvas.put(x, y, text, ink)

    def below(self) -> int:
        """Lines that are still to come."""
        return max(len(self.lines) - self._top - self._rows, 0)

    @property
    def _rows(self) -> int:
        return max(self.size.height - 2, 1)
