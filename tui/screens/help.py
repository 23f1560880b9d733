"""Keys, and what each quantity on the screen means, in which unit, after whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from lsmon.protocol.names import QUANTITIES, quantity

from ..every_key import Group, listed, near
from ..themes import Palette, palette_for
from ..widgets.canvas import plain

REPLAY_ONLY = frozenset(
    (
        "back",
        "forward",
        "far_back",
        "far_forward",
        "frame_back",
        "frame_forward",
        "slower",
        "faster",
        "next_alert",
        "previous_alert",
        "start",
        "end",
        "jump",
        "jump_onset",
    )
)
"""Keys that do nothing on a live run are not told there."""
_KEY_CELLS = 20
_NAMED = 100
"""Columns from which on the name of each key in the settings is told too."""


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
            # Those of the other screens and the quantities are long, and whoever asks for a key need not wait for them.
            yield Static(self._keys(palette_for(self.app.current_theme), near()), id="keys")
            yield Static(id="quantities")

    def on_mount(self) -> None:
        self.call_after_refresh(self._show_rest)

    def _show_rest(self) -> None:
        palette = palette_for(self.app.current_theme)
        self.query_one("#keys", Static).update(self._keys(palette, None))
        self.query_one("#quantities", Static).update(self._quantities(palette))

    def _keys(self, palette: Palette, which: Sequence[Group] | None) -> Text:
        """By screen: the keys as they are set, what they do, and the name under which they are set."""
        text = Text()
        say = plain if self._ascii else str
        text.append("Keys", palette.text("bold ink"))
        text.append(say("   `lsmon settings` prints a file to change them in\n"), palette.text("faint"))
        for title, lines in listed(self.app._keymap, which):
            text.append(f"\n{title}\n", palette.text("ink"))
            for keys, does, name in lines:
                if not self._replay and name in REPLAY_ONLY:
                    continue
                text.append(f"  {say(keys):<{_KEY_CELLS}}", palette.text("info"))
                text.append(say(does), palette.text("dim"))
                text.append(f"  {name}\n" if self.app.size.width >= _NAMED else "\n", palette.text("faint"))
        text.append("\n")
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
