"""The Textual app around one source."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from lsmon.protocol.frames import Alert
from lsmon.protocol.sources.source import Source

from .feed import Feed
from .ringing import Terminal, line_of
from .screens.dashboard import Dashboard
from .themes import THEMES

if TYPE_CHECKING:
    from .screens.page import Page

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

LOCAL_FPS, REMOTE_FPS = 10.0, 4.0
"""Redraws a second: a scrolling plot is 44 KB/s at 4 and 113 at 10, and ssh lines are slow."""


class LsmonApp(App[None]):
    """Shows what a source gives until the person quits. The caller owns the source and closes it."""

    CSS_PATH = "lsmon.tcss"
    TITLE = "lsmon"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "next_theme", "Theme", show=False, tooltip="Dark or light", id="theme"),
        Binding("ctrl+c,ctrl+q", "quit", "Quit", show=False, priority=True, tooltip="Leave", id="quit_hard"),
    ]

    def __init__(
        self,
        source: Source,
        *,
        fps: float | None = None,
        ascii_only: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        bell: bool = False,
        osc9: bool = False,
    ) -> None:
        """``ascii_only`` follows the terminal's encoding when it is None; ``bell`` and ``osc9`` tell of what is news."""
        super().__init__()
        self._terminal = Terminal(bell, osc9, self._to_terminal)
        self.feed = Feed(source, clock=clock, on_news=self._ring)
        self._fps = fps or (REMOTE_FPS if os.environ.get("SSH_CONNECTION") else LOCAL_FPS)
        self._ascii = _is_ascii() if ascii_only is None else ascii_only
        for theme, _ in THEMES.values():
            self.register_theme(theme)
        wanted = os.environ.get("TEXTUAL_THEME", "")
        self.theme = wanted if wanted in self.available_themes else "lsmon-dark"

    def on_mount(self) -> None:
        if not self.is_headless:
            loop = asyncio.get_running_loop()

            def leave(number: int, _: object) -> None:
                signal.signal(number, signal.SIG_DFL)  # a hung terminal holds us: the second one insists
                loop.call_soon_threadsafe(self.exit, None, 128 + number)

            # Without this a signal would leave the terminal as it was drawn, or, SIGINT, be swallowed.
            for number in ENDINGS:
                signal.signal(number, leave)

    def _ring(self, alert: Alert) -> None:
        self._terminal.ring(line_of(alert, self.feed.newest.header.name))

    def _to_terminal(self, text: str) -> None:
        """By way of the driver: written past it, the text might land inside one of its escape sequences."""
        if text and self._driver is not None:
            self._driver.write(text)

    def get_default_screen(self) -> Dashboard:
        return Dashboard(self.feed, fps=self._fps, ascii_only=self._ascii)

    def action_page(self, name: str) -> None:
        """Opens a page over the panels, or in place of another page; its own key closes it."""
        kind = _page(name)
        if type(self.screen) is kind:
            self.pop_screen()
            return
        opened = kind(self.feed, ascii_only=self._ascii)
        if len(self.screen_stack) == 1:
            self.push_screen(opened)
        else:
            self.switch_screen(opened)

    def action_next_theme(self) -> None:
        names = list(THEMES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]


def _page(name: str) -> type[Page]:
    """Loaded when it is first opened: the first paint needs none of them."""
    from .screens.alerts import AlertsPage
    from .screens.layers import LayersPage
    from .screens.spectrum import SpectrumPage

    pages: dict[str, type[Page]] = {"alerts": AlertsPage, "layers": LayersPage, "spectrum": SpectrumPage}
    return pages[name]


def _is_ascii() -> bool:
    encoding = (sys.__stderr__.encoding if sys.__stderr__ is not None else "") or "utf-8"
    return not encoding.lower().replace("-", "").startswith("utf")
