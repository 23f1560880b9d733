"""The lowest line of a screen that is over no run: a few words, and its keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.binding import BindingType

from ..keys import hinted
from .canvas import Canvas, plain
from .drawn import Drawn


class KeyLine(Drawn):
    """``keys``: each with what it does, the most needed last. ``bindings``: those in which they may have been changed."""

    def __init__(
        self, keys: Sequence[tuple[str, str]], bindings: Iterable[Iterable[BindingType]], ink: str = "dim"
    ) -> None:
        super().__init__()
        self._keys, self._groups, self._ink = tuple(keys), tuple(bindings), ink
        self._words = ""

    def tell(self, words: str) -> None:
        """In place of what was told before."""
        if words != self._words:
            self._words = words
            self.redraw()

    def on_resize(self) -> None:
        self.redraw()

    def draw(self, canvas: Canvas) -> None:
        keys = hinted(self._keys, self._groups, self.app._keymap)
        put_keys(canvas, canvas.put(1, 0, self._words, self._ink), 0, keys)


def put_keys(canvas: Canvas, x: int, y: int, keys: Sequence[tuple[str, str]]) -> None:
    """(key, what it does) at the right end, as many as there is room for right of ``x``, the last ones first."""
    hints: list[tuple[str, str]] = []
    room = canvas.cols - x - 3
    for key, does in reversed(keys):
        key = plain(key) if canvas.ascii_only else key
        if room < len(key) + len(does) + 3:
            break
        room -= len(key) + len(does) + 3
        hints.insert(0, (key, does))
    at = canvas.cols - 1 - sum(len(key) + len(does) + 3 for key, does in hints) + 2
    for key, does in hints:
        at = canvas.put(at, y, key, "ink")
        at = canvas.put(at + 1, y, does, "faint") + 2
