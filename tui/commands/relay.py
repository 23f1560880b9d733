"""The far end of ssh: write a run's frames to stdout until stdin closes. Called by ``lsmon HOST:RUN``, not by people.

A run that is over is told from its recording.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from lsmon.protocol.errors import NoSuchRun
from lsmon.protocol.sources.live import Live
from lsmon.protocol.wire.relay import relay

from ..target import live_cards, pick

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
    """The live run of that name, else the recorded one. Raises NoSuchRun, UsageError, or what opening it raises."""
    try:
        return Live(pick(name, live_cards()), after=after)
    except NoSuchRun as error:
        recorded = _recorded(name, after)
        if recorded is None:
            raise error from None
        return recorded


def _recorded(name: str, after: int) -> Recorded | None:
    """The newest whose id is ``name``, or in whose folder's name it is. Raises NoSuchRun without a name."""
    from lsmon.protocol.places import recordings_dir
    from lsmon.protocol.recording.folder import list_recordings, read_meta
    from lsmon.protocol.recording.reader import Recording
    from lsmon.protocol.sources.recorded import Recorded

    paths = list_recordings(recordings_dir())
    if not name and paths:
        last = read_meta(paths[0])
        called = last.run.name if last and last.run else paths[0].name
        raise NoSuchRun(
            f"No training with a probe is running there; the last that was recorded is {called}, name it."
        )
    exact = [path for path in paths if path.name.endswith(f"-{name}")]
    path = next((path for path in exact or paths if name in path.name), None) if name else None
    return Recorded(Recording.open(path), after=after) if path else None
