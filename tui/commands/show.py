"""Open the screen on a run.

TARGET is the name, id or pid of a live run, HOST: or HOST:RUN over ssh, or a recording by path or name.
Without one: the live run of this machine, a list when there are several or none.
Several hosts: a list of what runs on them, to which leaving a run returns.
"""

from __future__ import annotations

import os
import signal
import time
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lsmon.protocol.errors import LsmonError, UsageError
from lsmon.protocol.sources.source import Source

from ..ringing import add_ringing
from ..target import Reach, add_reach, find, live, live_cards, matching, open_recording
from ..terminal import has_screen

if TYPE_CHECKING:
    from ..app import LsmonApp


def add(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    add_reach(parser)
    add_ringing(parser)


def run(args: Namespace) -> int:
    reach = Reach.of(args)
    target = args.targets[0] if args.targets else ""
    if len(args.targets) > 1:
        if not has_screen():
            raise UsageError("Several targets need a terminal; `lsmon ls HOST HOST` lists what runs on them.")
        from ..places import watch_several

        return watch_several(args.targets, reach, partial(watch, bell=args.bell, osc9=args.notify))
    if not has_screen():
        if args.bell or args.notify:
            raise UsageError("There is no screen here; without one `lsmon watch` takes --bell and --notify.")
        from .tail import print_target

        return print_target(target, reach)
    source = find(target, reach) if target or reach.via else _choose()
    return watch(source, bell=args.bell, osc9=args.notify) if source else 0


def screen(source: Source, *, bell: bool = False, osc9: bool = False) -> LsmonApp:
    """The app on this source, loaded with settings that make it quick."""
    # Else numpy starts a thread a core for its linear algebra, a quarter of its loading time; nothing here uses it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ..app import LsmonApp

    return LsmonApp(source, bell=bell, osc9=osc9)


def watch(source: Source, *, bell: bool = False, osc9: bool = False) -> int:
    """The screen on this source, until the person leaves it; the exit code.

    Raises LsmonError when the source gave up: the screen may have had no room for the whole sentence.
    """
    app = screen(source, bell=bell, osc9=osc9)
    from ..app import ENDINGS

    before = {number: signal.getsignal(number) for number in ENDINGS}
    try:
        app.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        source.close()
    if app.feed.trouble:
        raise LsmonError(app.feed.trouble)
    return app.return_code or 0


def _choose() -> Source | None:
    """The live run when there is just one, else what the person picks from the list."""
    cards = live_cards()
    if len(cards) == 1:
        return live(cards[0])
    from ..format import age
    from ..runs import Run, local_runs
    from ..screens.chooser import Choice, choose

    def choice(run: Run) -> Choice:
        ago = f"{age(time.time() - run.started)} ago"
        return Choice(name=run.name, host=run.host, state=run.state, age=ago, value=run)

    runs = local_runs()
    chosen = choose(
        [choice(run) for run in runs if run.state == "live"],
        [choice(run) for run in runs if run.state != "live"],
    )
    if chosen is None or not isinstance(chosen.value, Run):
        return None
    if chosen.value.state == "live":
        return live(matching(chosen.value.run, cards)[0])
    return open_recording(Path(chosen.value.recording))
