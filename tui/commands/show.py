"""Open the screen on a run.

TARGET is the name, id or pid of a live run, HOST: or HOST:RUN over ssh, or a recording by path or name, which is
shown at its end; `lsmon replay` plays it.
Without one: the live run of this machine, a list when there are several or none.
Several hosts: a list of what runs on them, to which leaving a run returns.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsmon.protocol.errors import LsmonError, UsageError
from lsmon.protocol.sources.source import Source

from ..pages import PAGES
from ..remembered import recall, remember
from ..ringing import add_ringing
from ..settings import load
from ..target import Reach, add_reach, find, live, live_cards
from ..terminal import has_screen

if TYPE_CHECKING:
    from lsmon.protocol.wire.carrier import Carrier

    from ..app import LsmonApp
    from ..screens.runs import RunsScreen


def add(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    add_reach(parser)
    add_ringing(parser)
    parser.add_argument("--once", action="store_true", help="print one frame of the screen and leave")
    parser.add_argument(
        "--size",
        default="",
        metavar="COLSxROWS",
        help="with --once: of the frame; else the terminal's, or 120x36",
    )
    parser.add_argument("--page", choices=PAGES, default="", help="with --once: not the panels")


def run(args: Namespace) -> int:
    reach = Reach.of(args)
    target = args.targets[0] if args.targets else ""
    if args.once:
        return _once(args, reach)
    if args.size or args.page:
        raise UsageError(f"Argument --{'size' if args.size else 'page'}: it is for --once alone.")
    if len(args.targets) > 1:
        if not has_screen():
            raise UsageError("Several targets need a terminal; `lsmon ls HOST HOST` lists what runs on them.")
        from ..places import hosts

        return watch(None, hosts=hosts(args.targets, reach), here=False, bell=args.bell, osc9=args.notify)
    if not has_screen():
        if args.bell or args.notify:
            raise UsageError("There is no screen here; without one `lsmon watch` takes --bell and --notify.")
        from .tail import print_target

        return print_target(target, reach)
    source = find(target, reach) if target or reach.via else _only_one()
    return watch(source, bell=args.bell, osc9=args.notify)


def _once(args: Namespace, reach: Reach) -> int:
    """One frame on stdout: in colour on a terminal, in plain text elsewhere. It is an error when nothing can be read."""
    from ..picture import picture, size

    if len(args.targets) != 1 and not reach.via and (args.targets or len(live_cards()) != 1):
        raise UsageError("Name the one run whose frame is wanted; `lsmon ls` lists what there is.")
    if args.size:
        wanted = size(args.size)
    else:
        cols, rows = shutil.get_terminal_size((120, 37))
        wanted = cols, max(rows - 1, 1)  # the prompt takes a line too
    source = find(args.targets[0] if args.targets else "", reach)
    try:
        drawn = picture(source, wanted, page=args.page, ascii_only=load().ascii)
    finally:
        source.close()
    plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
    sys.stdout.write(drawn.text if plain else drawn.coloured())
    if drawn.trouble:
        raise LsmonError(drawn.trouble)
    return 0


def screen(
    source: Source | None,
    *,
    hosts: Sequence[tuple[Carrier, str]] = (),
    here: bool = True,
    compared: Sequence[Source] = (),
    bell: bool = False,
    osc9: bool = False,
) -> LsmonApp:
    """The app on this source, on several that are compared, or on a list of runs, with settings that make it quick."""
    # Else numpy starts a thread a core for its linear algebra, a quarter of its loading time; nothing here uses it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Textual looks for something to paint so many times a second, and at 60 an answer waits up to 17 ms, twice where
    # a layout comes first. What changes is painted no more often: the ticks decide that.
    os.environ.setdefault("TEXTUAL_FPS", "250")
    from rich.console import Console

    from ..app import LsmonApp

    def runs(ascii_only: bool) -> RunsScreen:
        from ..screens.runs import RunsScreen

        return RunsScreen(hosts, here=here, ascii_only=ascii_only)

    return LsmonApp(
        source, runs=runs, compared=compared, bell=bell, osc9=osc9,
        sixteen=Console().color_system == "standard", settings=load(), recalled=recall(),
    )  # fmt: skip


def watch(
    source: Source | None,
    *,
    hosts: Sequence[tuple[Carrier, str]] = (),
    here: bool = True,
    compared: Sequence[Source] = (),
    bell: bool = False,
    osc9: bool = False,
) -> int:
    """The screen, until the person leaves it; without a source on a list of runs. The exit code.

    Raises LsmonError when the source gave up: the screen may have had no room for the whole sentence.
    """
    app = screen(source, hosts=hosts, here=here, compared=compared, bell=bell, osc9=osc9)
    from ..app import ENDINGS

    before = {number: signal.getsignal(number) for number in ENDINGS}
    try:
        app.run()
        remember(app.remembered())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        app.close_opened()
        if source is not None:
            source.close()
    if app.feed.trouble:
        raise LsmonError(app.feed.trouble)
    return app.return_code or 0


def _only_one() -> Source | None:
    """The live run when there is just one; None for the list."""
    cards = live_cards()
    return live(cards[0]) if len(cards) == 1 else None
