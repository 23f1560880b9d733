"""A line that says what is being waited for, and how much of it is done."""

from __future__ import annotations

from .canvas import Canvas, cells
from .drawn import Drawn

_BAR = 24


class Progress(Drawn):
    """Empty when nothing is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._doing, self._done, self._total = "", 0, 0

    def tell(self, doing: str, done: int = 0, total: int = 0) -> None:
        self._doing, self._done, self._total = doing, done, total
        self.redraw()

    def on_resize(self) -> None:
        self.redraw()

    def draw(self, canvas: Canvas) -> None:
        if not self._doing:
            return
        x = 1
        if self._total:
            bar = progress_bar(
                self._done, self._total, min(_BAR, canvas.cols // 3), ascii_only=self.ascii_only
            )
            x = canvas.put(x, 0, bar, "info") + 1
            x = canvas.put(x, 0, f"{self._done} of {self._total}", "ink") + 2
        canvas.put(x, 0, self._doing, "dim", end=max(canvas.cols - 1, x + min(cells(self._doing), 1)))


def progress_bar(done: int, total: int, cols: int, *, ascii_only: bool = False) -> str:
    """``━━━━────``"""
    full = round(cols * min(max(done / total, 0.0), 1.0)) if total > 0 else 0
    return ("=" if ascii_only else "━") * full + ("-" if ascii_only else "─") * (cols - full)
