"""One line to type into, at the bottom of whatever is on the screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Input, Static


class Ask(ModalScreen["str | None"]):
    """Gives what was typed, or None after escape. ``refuse`` says in words why something will not do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Leave", tooltip="Leave it as it was", id="ask_leave"),
    ]

    def __init__(self, what: str, *, value: str = "", refuse: Callable[[str], str] = lambda _: "") -> None:
        super().__init__()
        self._what, self._value, self._refuse = what, value, refuse

    def compose(self) -> ComposeResult:
        with Horizontal(id="ask"):
            yield Static(f" {self._what} ", id="ask-what", markup=False)
            line = Input(self._value, id="ask-line", compact=True)
            line.cursor_blink = False  # a calm screen, and over ssh no bytes for it
            yield line
            yield Static("", id="ask-refused", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self.query_one("#ask-refused", Static).update(Text(self._refuse(event.value)))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if not self._refuse(event.value):
            self.dismiss(event.value)


def no_regex(typed: str) -> str:
    """Why this is none; empty when it is one."""
    try:
        re.compile(typed)
    except (re.error, RecursionError, OverflowError) as error:
        return f"not a regular expression: {error}"
    return ""
