"""Keys by screen, as they are set, and what each quantity means, in which unit, after whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from lsmon.protocol.names import QUANTITIES, quantity

from ..every_key import Group, listed, near
from ..wrapping import wrapped
from .canvas import plain
from .scrolled import ALL, Line, Scrolled

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
_NAMED = 76
"""Columns from which on the name of each key in the settings is told too."""
_UNKNOWN = 50
"""Names of the training's own that are listed at most."""


class HelpPanel(Scrolled):
    """The keys of the panels at once; those of other screens and the quantities, which take longer, right after."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_by(-1)", "Up", tooltip="One line up", id="help_up"),
        Binding("down,j", "scroll_by(1)", "Down", tooltip="One line down", id="help_down"),
        Binding("pageup", "scroll_by(-20)", "Page up", tooltip="Twenty lines up", id="help_page_up"),
        Binding(
            "pagedown,space", "scroll_by(20)", "Page down", tooltip="Twenty lines down", id="help_page_down"
        ),
        Binding("home", f"scroll_by({-ALL})", "Start", tooltip="To the first line", id="help_start"),
        Binding("end", f"scroll_by({ALL})", "End", tooltip="To the last line", id="help_end"),
    ]

    def __init__(self, names: Iterable[str], *, replay: bool) -> None:
        super().__init__("help")
        self._names, self._replay = tuple(names), replay
        self._whole = False
        self._folded: tuple[Line, ...] = ()
        self._folded_for = (0, False)

    def on_mount(self) -> None:
        self.call_after_refresh(self._tell_all)

    def _tell_all(self) -> None:
        self._whole = True
        self.redraw()

    @property
    def lines(self) -> Sequence[Line]:
        wanted = max(self.size.width - 4, 20), self._whole
        if wanted != self._folded_for:
            cols, whole = wanted
            lines = [*self._keys(cols, None if whole else near())]
            if whole:
                lines += self._quantities(cols)
            self._folded, self._folded_for = tuple(lines), wanted
        return self._folded

    def _keys(self, cols: int, which: Sequence[Group] | None) -> Iterator[Line]:
        """By screen: the keys as they are set, what they do, and the name under which they are set."""
        yield ("bold ink", "Keys"), ("faint", "   `lsmon settings` prints a file to change them in")
        for title, keys in listed(self.app._keymap, which):
            if not keys:
                continue
            yield ()
            yield (("ink", title),)
            for pressed, does, name in keys:
                if not self._replay and name in REPLAY_ONLY:
                    continue
                if self.ascii_only:
                    pressed, does = plain(pressed), plain(does)
                name = f"  {name}" if cols >= _NAMED else ""
                room = max(cols - _KEY_CELLS - 2 - len(name), 12)
                first, *rest = wrapped(does, room) or [""]
                yield ("info", f"  {pressed:<{_KEY_CELLS}}"), ("dim", f"{first:<{room}}"), ("faint", name)
                for more in rest:
                    yield (("dim", " " * (_KEY_CELLS + 2) + more),)

    def _quantities(self, cols: int) -> Iterator[Line]:
        yield ()
        yield (("bold ink", "Quantities"),)
        unknown = [name for name in self._names if name not in QUANTITIES]
        for name in (*QUANTITIES, *unknown[:_UNKNOWN]):
            known = quantity(name)
            unit = {"": "", "1": "   no unit"}.get(known.unit, f"   in {known.unit}")
            yield ()
            yield ("bold ink", known.label), ("faint", f"   {name}{unit}")
            for ink, words in (("dim", known.meaning), ("faint", known.source)):
                for line in wrapped(words, cols):
                    yield ((ink, line),)
