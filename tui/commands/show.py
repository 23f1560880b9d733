"""Open the screen on a run.

TARGET is the name, id or pid of a live run, HOST: or HOST:RUN over ssh, or the path of a recording.
Without one: the live run of this machine, a list when there are several or none.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from lsmon.protocol.sources.source import Source

from ..target import find, live, live_cards
from ..terminal import has_screen


def add(parser: ArgumentParser) -> None:
    parser.add_argument("target", nargs="?", default="", metavar="TARGET")
    add_remote_command(parser)


def add_remote_command(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--remote-command",
        default="",
        metavar="CMD",
        help="how to call lsmon on HOST when it is not on PATH there, e.g. '.venv/bin/lsmon'",
    )


def run(args: Namespace) -> int:
    if not has_screen():
        from .tail import follow, source_for

        return follow(source_for(args.target, args.remote_command))
    source = find(args.target, remote_command=args.remote_command) if args.target else _choose()
    return watch(source) if source else 0


def watch(source: Source) -> int:
    """The screen on this source, until the person leaves it."""
    from ..app import LsmonApp

    try:
        LsmonApp(source).run()
    finally:
        source.close()
    return 0


def _choose() -> Source | None:
    cards = live_cards()
    if len(cards) == 1:
        return live(cards[0])
    raise NotImplementedError
