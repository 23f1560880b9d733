"""The far end of ssh: write a run's frames to stdout until stdin closes. Called by `lsmon HOST:RUN`, not by people.

A run that is over is told from its recording.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from lsmon.protocol.cards import Card
from lsmon.protocol.errors import NoSuchRun
from lsmon.protocol.sources.live import Live
from lsmon.protocol.wire.relay import relay

from ..target import live_cards, of_this_machine, pick

if TYPE_CHECKING:
    from lsmon.protocol.sources.recorded import Recorded


def add(parser: ArgumentParser) -> None:
    parser.add_argument("run_name", nargs="?", default="", metavar="RUN")
    parser.add_argument(
        "--after", type=int, default=0, metavar="SEQ", help="the last frame that is known already"
    )


def run(args: Namespace) -> int:
    return relay(_source(args.run_name, args.after), sys.stdout.fileno(), sys.stdin.fileno())


def _source(name: str, after: int) -> Live | Recorded:
    """The run of that name, live or recorded, or the one live run. Raises NoSuchRun, UsageError, or what opening it
    raises."""
    try:
        found = of_this_machine(name) if name else pick("", live_cards())
    except NoSuchRun as error:
        raise (error if name else NoSuchRun(_last() or str(error))) from None
    if isinstance(found, Card):
        return Live(found, after=after)
    from lsmon.protocol.recording.reader import Recording
    from lsmon.protocol.sources.recorded import Recorded

    return Recorded(Recording.open(found), after=after)


def _last() -> str:
    """What was recorded last, which may be meant when nothing is live; empty when nothing was."""
    from lsmon.protocol.places import recordings_dir
    from lsmon.protocol.recording.folder import list_recordings, read_meta

    last = next(iter(list_recordings(recordings_dir())), None)
    if last is None:
        return ""
    meta = read_meta(last)
    called = meta.run.name if meta and meta.run else last.name
    return f"No training with a probe is running there; the last that was recorded is {called}, name it."
