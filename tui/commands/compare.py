"""Lay two runs or more over one another: curves aligned by step, time or loss, and how far they differ.

Each TARGET is what `lsmon` or `lsmon replay` opens. Without a terminal the differences are printed.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from lsmon.protocol.errors import LsmonError, UsageError
from lsmon.protocol.sources.source import Source

from ..target import Reach, add_reach, find
from ..terminal import has_screen

PATIENCE_SECS = 20.0
"""For a run on another host to tell its history, when what it says is printed once."""


def add(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    add_reach(parser)


def run(args: Namespace) -> int:
    if len(args.targets) < 2:
        raise UsageError("Name two runs or more to compare; `lsmon ls` lists what there is.")
    reach = Reach.of(args)
    sources: list[Source] = []
    try:
        for target in args.targets:
            sources.append(find(target, reach))
        if not has_screen():
            return _printed(sources)
        from .show import watch

        return watch(None, compared=sources)
    finally:
        for source in sources:
            source.close()


def _printed(sources: Sequence[Source]) -> int:
    from ..feed import Feed
    from ..side import sides_of
    from ..widgets.sides import tabled

    feeds = [Feed(source) for source in sources]
    end = time.monotonic() + PATIENCE_SECS
    for feed in feeds:
        feed.seek_last()
        before = None
        while (
            (feed.newest is not before or not feed.newest.seq) and time.monotonic() < end and not feed.trouble
        ):
            before = feed.newest
            feed.tick(1.0)
        if feed.trouble:
            raise LsmonError(feed.trouble)
    table = tabled(sides_of(feeds))
    rows = [("", *table.heads), *((row.label, *row.cells) for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        sys.stdout.write(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
        )
    for _, words in table.volumes:
        sys.stdout.write(f"{words}\n")
    return 0
