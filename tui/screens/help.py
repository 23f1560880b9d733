"""Keys, and what each quantity on the screen means, in which unit, after whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from ..widgets.ground import Ground
from ..widgets.help import HelpPanel


class Help(Ground):
    """Closes with any of the keys that opened it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,question_mark,q,h,enter", "dismiss", "Close", tooltip="Back to the run", id="close_help"
        ),
    ]

    def __init__(self, names: Iterable[str], *, replay: bool, ascii_only: bool = False) -> None:
        super().__init__()
        self._panel = HelpPanel(names, replay=replay)
        self._panel.ascii_only = ascii_only

    def compose(self) -> ComposeResult:
        yield self._panel
