"""Drives the screen headless: a source, keys, and what the terminal would show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import cast

from textual.pilot import Pilot

from lsmon.protocol.sources.source import Source
from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.widgets.panel import Panel

Check = Callable[[LsmonApp, "Pilot[None]"], Awaitable[None]]


def drive(
    source: Source,
    check: Check,
    size: tuple[int, int] = (120, 36),
    *,
    ascii_only: bool = False,
    notifications: bool = False,
) -> None:
    """Runs the app headless; its own ticks are rare, so that the test turns them. ``notifications`` shows what is said
    for a moment on the screen too."""

    async def session() -> None:
        app = LsmonApp(source, fps=0.01, ascii_only=ascii_only)
        async with app.run_test(size=size, notifications=notifications) as pilot:
            await settle(app, pilot)
            await check(app, pilot)

    asyncio.run(session())


async def settle(app: LsmonApp, pilot: Pilot[None]) -> None:
    """Read everything, lay out, draw; a loaded machine may need more rounds than two."""
    feed = app.feed
    read = None
    while feed.newest is not read:  # all of it, however slow the machine is
        read = feed.newest
        feed.tick(1.0)
    for turn in range(30):
        dashboard(app).tick()
        await pilot.pause()
        placed = [panel for panel in app.screen.query(Panel) if panel.display]
        if turn >= 2 and all(panel.region.area for panel in placed) and (placed or app.size.height < 4):
            break


async def until(pilot: Pilot[None], fact: Callable[[], bool], secs: float = 60.0) -> None:
    """Waits for it; what the screen shows is said when it does not come."""
    end = time.monotonic() + secs
    while not fact():
        assert time.monotonic() < end, shown(cast("LsmonApp", pilot.app))
        await pilot.pause(0.01)


def dashboard(app: LsmonApp) -> Dashboard:
    screen = app.screen_stack[0]
    assert isinstance(screen, Dashboard)
    return screen


def text(app: LsmonApp) -> list[str]:
    """The rows of the screen as a terminal shows them."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def shown(app: LsmonApp) -> str:
    return "\n".join(text(app))


def panels(app: LsmonApp) -> dict[str, Panel]:
    return {str(panel.name): panel for panel in app.screen.query(Panel) if panel.display}
