"""Lay two runs or more over one another: curves aligned by step, time or loss, and how far they differ.

Each TARGET is what `lsmon` or `lsmon replay` opens. Without a terminal the differences are printed.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from lsmon.protocol.clean import clean_line
from lsmon.protocol.errors import LsmonError, UsageError
from lsmon.protocol.sources.source import Source

from ..target import Reach, add_reach, locate, open_recording
from ..terminal import has_screen

PATIENCE_SECS = 20.0
"""For a run to tell its history, when what it says is printed once: a slow link, a training that answers late."""
READ_SECS = 1.0
PAUSE_SECS = 0.02
"""Between two looks at a source that had nothing; history comes in pages, each of which has to be asked for."""


def add(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    add_reach(parser)


def run(args: Namespace) -> int:
    if len(args.targets) < 2:
        raise UsageError("Name two runs or more to compare; `lsmon ls` lists what there is.")
    reach = Reach.of(args)
    with ExitStack() as opened:
        places: list[Source | Path] = []
        for target in args.targets:
            where = locate(target, reach)
            places.append(where if isinstance(where, Path) else opened.enter_context(closing(where)))
        _refuse_twins(args.targets, places)
        sources = [
            opened.enter_context(closing(open_recording(where))) if isinstance(where, Path) else where
            for where in places
        ]
        if not has_screen():
            return _printed(sources)
        from .show import watch

        return watch(None, compared=sources)


def _refuse_twins(targets: Sequence[str], places: Sequence[Source | Path]) -> None:
    """Raises UsageError where two targets are one run; of one elsewhere nothing is known before it has been heard."""
    seen: dict[Path | str, str] = {}
    for target, where in zip(targets, places, strict=True):
        same = where.resolve() if isinstance(where, Path) else getattr(where, "run", "")
        if same and same in seen:
            both = f"{seen[same]!r} and {target!r} are" if seen[same] != target else f"{target!r} twice is"
            raise UsageError(f"{clean_line(both, 200)} one and the same run; name two to compare.")
        seen[same] = target


def _printed(sources: Sequence[Source]) -> int:
    from ..feed import Feed
    from ..side import sides_of
    from ..widgets.sides import tabled

    feeds = [Feed(source) for source in sources]
    until = time.monotonic() + PATIENCE_SECS
    for feed in feeds:
        feed.seek_last()
        feed.tick(READ_SECS)
        while feed.behind and not feed.trouble and time.monotonic() < until:
            time.sleep(PAUSE_SECS)
            feed.tick(READ_SECS)
        if feed.trouble:
            raise LsmonError(feed.trouble)
    table = tabled(sides_of(feeds))
    rows = [("", *table.heads), *((row.label, *row.cells) for row in table.rows)]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        sys.stdout.write(
            "  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
            + "\n"
        )
    for _, words in table.volumes:
        sys.stdout.write(f"{words}\n")
    return 0
