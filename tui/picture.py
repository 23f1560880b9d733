"""The screen drawn without a terminal: as text, in colour, or as SVG."""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from textual.strip import Strip

from lsmon.protocol.errors import LsmonError, UsageError
from lsmon.protocol.sources.source import OVER, Source

from .pages import PAGES

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from .app import LsmonApp

PATIENCE_SECS = 10.0
"""For a live run to tell its history: far more than a local one takes."""
BEAT_SECS = 1.5
"""For a live run that has told it to send a heartbeat too, which says what the probe does."""
_SIZE = re.compile(r"(\d{2,3})x(\d{2,3})")


class Picture(NamedTuple):
    svg: str
    text: str
    strips: Sequence[Strip]
    trouble: str = ""
    """The sentence with which the source gave up, if it did."""

    def coloured(self) -> str:
        """With escape codes, as many colours as the terminal has."""
        out = io.StringIO()
        console = Console(
            file=out, force_terminal=True, width=max((strip.cell_length for strip in self.strips), default=80)
        )
        for strip in self.strips:
            console.print(*strip, sep="", end="", highlight=False, markup=False, soft_wrap=True)
            out.write("\n")
        return out.getvalue()


def size(words: str) -> tuple[int, int]:
    """``120x36`` in columns and rows. Raises UsageError."""
    found = _SIZE.fullmatch(words)
    if found is None:
        raise UsageError(
            f"A size is columns and rows from 10x10 to 999x999, such as 120x36, unlike {words[:40]!r}."
        )
    return int(found[1]), int(found[2])


def picture(
    source: Source,
    size: tuple[int, int],
    *,
    page: str = "",
    keys: Sequence[str] = (),
    theme: str = "",
    ascii_only: bool | None = None,
) -> Picture:
    """What the screen shows of a source once it has told what it knows; ``keys`` are pressed before.

    Raises LsmonError when it gave up before it had told anything.
    """
    from .app import LsmonApp

    app = LsmonApp(source, fps=0.01, ascii_only=ascii_only)
    made: list[Picture] = []

    async def draw(pilot: Pilot[object]) -> None:
        await _told(app)
        if app.feed.vain:
            app.exit()
            return
        if theme:
            app.theme = theme
        for key in ([PAGES[page]] if page else []) + list(keys):
            await pilot.press(key)
        await _settled(app, pilot)
        made.append(taken(app))
        app.exit()

    app.run(headless=True, size=size, auto_pilot=draw)
    if app.feed.vain:
        raise LsmonError(app.feed.trouble)
    if not made:
        raise RuntimeError("the screen could not be drawn")
    return made[0]


def taken(app: LsmonApp) -> Picture:
    """Of what is on the screen now."""
    from .svg import svg_of

    strips = app.screen._compositor.render_strips()
    return Picture(
        svg_of(app),
        "\n".join(strip.text.rstrip() for strip in strips) + "\n",
        strips,
        app.feed.trouble,
    )


async def _told(app: LsmonApp) -> None:
    feed = app.feed

    async def wait(done: Callable[[], object], secs: float) -> None:
        until = time.monotonic() + secs
        while not (done() or feed.trouble) and time.monotonic() < until:
            feed.tick(0.5)
            await asyncio.sleep(0.02)

    await wait(lambda: not feed.behind, PATIENCE_SECS)
    await wait(lambda: feed.seekable or feed.link.phase in OVER or feed.newest.heartbeat.wall, BEAT_SECS)


async def _settled(app: LsmonApp, pilot: Pilot[object]) -> None:
    """Laid out and drawn: sizes are known one turn, contents the next."""
    from .screens.watching import Watching

    for _ in range(4):
        if isinstance(app.screen, Watching):
            app.screen.tick()
        await pilot.pause()
