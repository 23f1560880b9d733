"""The Textual app around one source."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from msgspec.structs import replace
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.events import Event, Paste
from textual.theme import ThemeProvider

from lsmon.protocol.clean import clean_line
from lsmon.protocol.frames import Alert
from lsmon.protocol.sources.source import Source

from .every_key import groups
from .feed import Feed
from .free_memory import settle
from .keys import keys_of, written
from .outlet import Outlet
from .palette import Palette
from .remembered import Remembered
from .ringing import Terminal, line_of
from .screens.dashboard import Dashboard
from .settings import Settings
from .themes import THEMES
from .waiting import Waiting

if TYPE_CHECKING:
    from textual.driver import Driver
    from textual.screen import Screen

    from .screens.alerts import AlertsPage
    from .screens.page import Page
    from .screens.runs import RunsScreen

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

WARM_SECS = 1.0
"""After the start: the first curve is there by then."""

LOOK_SECS = 1.0
"""Whether the terminal is still there."""

LOCAL_FPS, REMOTE_FPS = 10.0, 4.0
"""Redraws a second: a scrolling plot is 44 KB/s at 4 and 113 at 10, and ssh lines are slow."""


class LsmonApp(App[None]):
    """Shows what a source gives until the person quits. The caller owns the source and closes it."""

    CSS_PATH = "lsmon.tcss"
    TITLE = "lsmon"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "next_theme", "Theme", show=False, tooltip="Dark or light", id="theme"),
        Binding(
            "colon",
            "command_palette",
            "Commands",
            key_display=":",
            show=False,
            tooltip="All that can be done",
            id="commands",
        ),
        Binding("ctrl+c,ctrl+q", "quit", "Quit", show=False, priority=True, tooltip="Leave", id="quit_hard"),
    ]

    def __init__(
        self,
        source: Source | None = None,
        *,
        runs: Callable[[bool], RunsScreen] | None = None,
        compared: Sequence[Source] = (),
        fps: float | None = None,
        ascii_only: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        bell: bool = False,
        osc9: bool = False,
        sixteen: bool = False,
        settings: Settings = Settings(),  # noqa: B008  it is immutable
        recalled: Remembered = Remembered(),  # noqa: B008
    ) -> None:
        """``runs`` makes the list of runs; without a source it is what is shown first, unless runs are to be compared. ``ascii_only`` follows the
        terminal's encoding when it is None; ``sixteen`` is for a terminal of so many colours; ``bell`` and ``osc9`` tell of what is news."""
        super().__init__()
        self._runs = runs
        self._compared = tuple(compared)
        self._listed_first = source is None and not compared
        self._opened: list[Source] = []
        if source is None:
            source = _nothing()
        self._outlet: Outlet | None = None
        self._terminal = Terminal(bell, osc9, self._to_terminal)
        self._clock = clock
        self.feed = Feed(source, clock=clock, on_news=self._ring)
        self._recalled = recalled
        self._dashboard: Dashboard | None = None
        """Kept beyond the end, which takes it from the stack: it knows how it was left."""
        self._fps = fps or settings.fps or (REMOTE_FPS if os.environ.get("SSH_CONNECTION") else LOCAL_FPS)
        if ascii_only is None:
            ascii_only = settings.ascii
        self._ascii = _is_ascii() if ascii_only is None else ascii_only
        for theme, _ in THEMES.values():
            self.register_theme(theme)
        few = "lsmon-16" if sixteen else ""
        wanted = (os.environ.get("TEXTUAL_THEME", ""), settings.theme, few, recalled.theme, "lsmon-dark")
        self.theme = next(name for name in wanted if name in self.available_themes)
        if settings.keys:
            self.set_keymap(settings.keys)

    def _build_driver(
        self, headless: bool, inline: bool, mouse: bool, size: tuple[int, int] | None
    ) -> Driver:
        # A terminal that does not know its size (a serial line, a container) has 24 lines for Textual's driver and 25
        # for its console, and is laid out for one and the other for ever; asked once, it has one.
        driver: Any = super()._build_driver(headless, inline, mouse, size or shutil.get_terminal_size())
        if hasattr(driver, "_file"):
            driver._file = self._outlet = Outlet(driver._file)
        return cast("Driver", driver)

    def on_mount(self) -> None:
        if self._compared:
            self.compare(self._compared)
        elif self._listed_first:
            self.action_runs()
        if not self.is_headless:
            self.set_timer(WARM_SECS, self._warm)
            self.set_interval(LOOK_SECS, self._look)
            loop = asyncio.get_running_loop()

            def leave(number: int, _: object) -> None:
                signal.signal(number, signal.SIG_DFL)  # a hung terminal holds us: the second one insists
                loop.call_soon_threadsafe(self.exit, None, 128 + number)

            # Without this a signal would leave the terminal as it was drawn, or, SIGINT, be swallowed.
            for number in ENDINGS:
                signal.signal(number, leave)

    def _look(self) -> None:
        """A terminal that goes away tells the shell in it, which may not tell us."""
        if self._outlet is not None and self._outlet.look():
            self.exit(None, 128 + signal.SIGHUP)

    def _warm(self) -> None:
        """Load the other screens while nobody waits for them: a tenth of a second that the first key would take longer."""
        self.run_worker(groups, thread=True, exit_on_error=False)
        settle()

    async def on_event(self, event: Event) -> None:
        """What is pasted comes from anywhere, and a line to type into shows it as it is."""
        if isinstance(event, Paste) and not event.is_forwarded:
            event.text = "\n".join(map(clean_line, event.text.splitlines()))
        await super().on_event(event)

    def remembered(self) -> Remembered:
        """What the next screen may begin with; nothing of what a small terminal or an environment asked for."""
        theme = self.theme if self.theme != "lsmon-16" else self._recalled.theme
        if self._dashboard is None:
            return replace(self._recalled, theme=theme)
        return self._dashboard.remembered(theme)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """All that a key does on this screen, and the themes."""
        told: set[str] = set()
        for _, binding, enabled, tooltip in screen.active_bindings.values():
            if enabled and binding.id and binding.id not in told and not binding.id.startswith("panel_"):
                told.add(binding.id)
                keys = written(keys_of(binding, {})[0])
                yield SystemCommand(
                    binding.description, f"{keys}   {tooltip}", partial(self._act, binding.action, screen)
                )
        yield SystemCommand("Themes", "All themes there are", self.action_change_theme)

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette(id="--command-palette"))

    def search_themes(self) -> None:
        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    async def _act(self, action: str, screen: Screen[object]) -> None:
        await self.run_action(action, screen.focused or screen)

    def _ring(self, alert: Alert) -> None:
        self._terminal.ring(line_of(alert, self.feed.newest.header.name))

    def _to_terminal(self, text: str) -> None:
        """By way of the driver: written past it, the text might land inside one of its escape sequences."""
        if text and self._driver is not None:
            self._driver.write(text)

    def get_default_screen(self) -> Dashboard:
        self._dashboard = Dashboard(self.feed, fps=self._fps, ascii_only=self._ascii, recalled=self._recalled)
        return self._dashboard

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

    # Other runs.

    def action_runs(self) -> None:
        """The list of runs, over whatever is shown."""
        from .screens.runs import RunsScreen

        if not any(isinstance(screen, RunsScreen) for screen in self.screen_stack):
            make = self._runs or (lambda ascii_only: RunsScreen(ascii_only=ascii_only))
            self.push_screen(make(self._ascii))

    def open(self, source: Source) -> None:
        """Show another run in place of the one that is shown, which is closed if it was opened here."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.close_opened()
        self._opened.append(source)
        self.feed = Feed(source, clock=self._clock, on_news=self._ring)
        dashboard = self.screen
        assert isinstance(dashboard, Dashboard)
        dashboard.take(self.feed)

    def compare(self, sources: Sequence[Source]) -> None:
        """Lay several runs over one another; they are closed when that is left."""
        from .screens.compare import CompareScreen

        feeds = [Feed(source, clock=self._clock) for source in sources]
        leave = (lambda _: self.exit()) if self._compared else None
        self.push_screen(CompareScreen(feeds, ascii_only=self._ascii), leave)

    def compare_steps(self, origins: Sequence[int]) -> None:
        """Lay what followed several steps of the run that is shown over one another."""
        from .screens.compare import CompareScreen

        self.push_screen(CompareScreen([self.feed], origins=origins, ascii_only=self._ascii, mine=False))

    def on_runs_screen_ready(self, message: RunsScreen.Ready) -> None:
        if len(message.sources) == 1:
            self.open(message.sources[0])
        elif message.sources:
            self.compare(message.sources)

    def on_alerts_page_compared(self, message: AlertsPage.Compared) -> None:
        self.compare_steps(message.steps)

    def action_leave_runs(self) -> None:
        """From the list back to the run; out, where there is none behind it."""
        if self._listed_first and isinstance(self.feed.source, Waiting):
            self.exit()
        else:
            self.pop_screen()

    def on_dashboard_in_vain(self) -> None:
        """What is wrong is said where the person came from: an empty screen has no more to say."""
        self.action_leave()

    def action_leave(self) -> None:
        """To the list, when it was the first thing shown; else out."""
        if not self._listed_first:
            self.exit()
            return
        trouble = self.feed.trouble
        self.open(_nothing())  # what was left is not behind the list: from there the way is out
        self.action_runs()
        if trouble:
            self.notify(trouble, severity="warning", markup=False, timeout=10)

    def close_opened(self) -> None:
        """Close what was opened from the list; the caller closes its own source."""
        for source in self._opened:
            source.close()
        self._opened.clear()

    def action_help(self) -> None:
        from .screens.help import Help

        replayed = self.feed.seekable is not None
        self.push_screen(Help(self.feed.newest.series, replay=replayed, ascii_only=self._ascii))

    def action_next_theme(self) -> None:
        names = list(THEMES)
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]


def _nothing() -> Source:
    return Waiting(lambda: None, "no run is open yet")


def _page(name: str) -> type[Page]:
    """Loaded when it is first opened: the first paint needs none of them."""
    from .screens.alerts import AlertsPage
    from .screens.detail import DetailPage
    from .screens.layers import LayersPage
    from .screens.spectrum import SpectrumPage

    pages: dict[str, type[Page]] = {
        "alerts": AlertsPage, "detail": DetailPage, "layers": LayersPage, "spectrum": SpectrumPage,
    }  # fmt: skip
    return pages[name]


def _is_ascii() -> bool:
    encoding = (sys.__stderr__.encoding if sys.__stderr__ is not None else "") or "utf-8"
    return not encoding.lower().replace("-", "").startswith("utf")
