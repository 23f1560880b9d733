"""A screen about one thing, opened over the panels by a key and closed by the same."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from ..widgets.layout import STRIP_COLS, STRIP_ROWS
from ..widgets.phases import PhaseStrip
from .watching import Keys, Watching


class Page(Watching):
    """Escape and q lead back to the panels; the keys of the other pages lead there."""

    OWN_KEYS: ClassVar[Keys] = (("?", "help"), ("↑ ↓", "scroll"), ("esc", "back"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,q,backspace", "app.pop_screen", "Back", tooltip="Back to the panels", id="close_page"
        ),
    ]

    def on_resize(self) -> None:
        width, height = self.size
        self.query_one(PhaseStrip).display = width >= STRIP_COLS and height >= STRIP_ROWS
