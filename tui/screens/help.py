"""Keys, and what each quantity on the screen means, in which unit, after whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from lsmon.protocol.names import QUANTITIES, quantity

from ..themes import Palette, palette_for
from ..widgets.canvas import plain

_KEYS = (
    ("space", "live: freeze the picture, never the feed; replay: play or pause"),
    ("enter, 1 to 9", "enlarge the focused panel, or one by its number; escape: back"),
    ("tab", "the next panel"),
    ("y", "logarithmic or linear axis"),
    ("l", "layers: activation and gradient scale, dead units, sharpness, and how they go with depth"),
    ("s", "spectrum: the density of the curvatures, its negative part, the eigenvalues that stick out"),
    ("v", "on both pages: the last measurement, or all of them over time; c: the next quantity by layer"),
    ("a", "all alerts: evidence, onset, advice; enter or g: a replay goes to that step, o: to the onset"),
    ("t", "dark or light"),
    ("q", "quit; the training goes on, only a demo ends"),
)
_REPLAY_KEYS = (
    ("←  →", "back or forward 1 %;  shift or [ ]: 10 %"),
    (",  .", "one step back, one frame forward"),
    ("+  −", "faster, slower, 0.1 to 1000×"),
    ("n  N", "next alert, alert before"),
    ("home  end", "first step, last step"),
)


class Help(Screen[None]):
    """Closes with any of the keys that opened it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,question_mark,q,h,enter", "dismiss", "Close", tooltip="Back to the run", id="close_help"
        ),
    ]

    def __init__(self, names: Iterable[str], *, replay: bool, ascii_only: bool = False) -> None:
        super().__init__()
        self._names, self._replay, self._ascii = list(names), replay, ascii_only

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as frame:
            if self._ascii:
                frame.styles.border = ("ascii", self.app.current_theme.foreground or "white")
                frame.styles.scrollbar_size_vertical = 0  # it is drawn with block characters
            yield Static(self._keys(palette_for(self.app.current_theme)))
            yield Static(id="quantities")

    def on_mount(self) -> None:
        self.call_after_refresh(
            self._show_quantities
        )  # they are long, and whoever asks for a key need not wait for them

    def _show_quantities(self) -> None:
        self.query_one("#quantities", Static).update(self._quantities(palette_for(self.app.current_theme)))

    def _keys(self, palette: Palette) -> Text:
        text = Text()
        say = plain if self._ascii else str
        text.append("Keys\n\n", palette.text("bold ink"))
        for key, does in _KEYS + (_REPLAY_KEYS if self._replay else ()):
            text.append(f"{say(key):<15}", palette.text("info")).append(f"{say(does)}\n", palette.text("dim"))
        return text

    def _quantities(self, palette: Palette) -> Text:
        text = Text()
        say = plain if self._ascii else str
        text.append("Quantities\n", palette.text("bold ink"))
        unknown = [name for name in self._names if name not in QUANTITIES]
        for name in (*QUANTITIES, *unknown[:50]):
            known = quantity(name)
            text.append(f"\n{say(known.label)}", palette.text("bold ink"))
            text.append(f"   {say(name)}", palette.text("faint"))
            if known.unit:
                text.append(
                    f"   in {say(known.unit)}" if known.unit != "1" else "   no unit", palette.text("faint")
                )
            text.append(f"\n{say(known.meaning)}", palette.text("dim"))
            text.append(f"\n{say(known.source)}\n", palette.text("faint"))
        return text
