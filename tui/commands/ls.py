"""List the runs of this machine, or of each HOST over ssh: the live ones, then the recorded ones, newest first."""

from __future__ import annotations

import shutil
import sys
import time
from argparse import ArgumentParser, Namespace

import msgspec

from lsmon.protocol.clean import clean_line
from lsmon.protocol.errors import LsmonError

from ..format import age
from ..runs import Run, local_runs, with_course
from ..target import HOW_TO_START, Reach, add_reach

_NAME, _HOST = 1, 3
_LEAST = 8
"""Cells in which most names and hosts are still told apart."""


def add(parser: ArgumentParser) -> None:
    parser.add_argument("hosts", nargs="*", metavar="HOST")
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON array; steps is null of a run that lives or ended early, and loss is empty, unless --loss asks",
    )
    parser.add_argument(
        "--loss",
        type=int,
        default=0,
        metavar="N",
        help="with the last step, the last loss and its course of the newest N runs, in the JSON",
    )
    add_reach(parser)


def run(args: Namespace) -> int:
    """Exit code 1 when a host could not be asked; what the others said is listed all the same."""
    reach = Reach.of(args)
    hosts = [host if ":" in host else f"{host}:" for host in args.hosts] or ([""] if reach.via else [])
    trouble: list[LsmonError] = []
    runs: list[Run] = []
    if hosts:
        from ..places import look

        for place in look(hosts, reach, args.loss):
            runs += place.runs
            trouble += [place.trouble] if place.trouble else []
        if len(trouble) == len(hosts) == 1:
            raise trouble[0]
    else:
        runs = [with_course(run) if at < args.loss else run for at, run in enumerate(local_runs())]
    if args.json:
        sys.stdout.write(msgspec.json.encode(runs).decode() + "\n")
    elif runs:
        cols = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        sys.stdout.write(table(runs, time.time(), cols))
    elif not trouble:
        where = f" on {', '.join(hosts).replace(':', '')}" if hosts else ""
        sys.stderr.write(clean_line(f"No runs{where}; {HOW_TO_START}.") + "\n")
    for error in trouble:
        sys.stderr.write(f"lsmon: {clean_line(str(error))}\n")
    return 1 if trouble else 0


def table(runs: list[Run], now: float, cols: int | None = None) -> str:
    """Columns as wide as they must be; the path last, since it is the longest, and left out where it would not fit into
    ``cols``: a run is opened by its name or id. Then host and name are cut, never a number or what opens a run elsewhere.
    """
    from rich.cells import cell_len  # which --json and a script that asks for it need not wait for

    places = len({run.place for run in runs}) > 1  # as the person calls them, which opens a run: HOST:ID
    rows = [("STATE", "NAME", "ID", "HOST", "PID", "STARTED", "RECORDING")]
    rows += [
        (
            run.words,
            run.name,
            run.run[:8],
            run.place if places else run.host,
            str(run.pid or ""),
            f"{age(now - run.started)} ago",
            run.recording,
        )
        for run in runs
    ]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    if cols is not None and sum(widths) + 2 * len(widths) + max(cell_len(row[-1]) for row in rows) > cols:
        rows = [(*row[:-1], "") for row in rows]
        for column in (_NAME,) if places else (_HOST, _NAME):
            over = sum(widths) + 2 * (len(widths) - 1) - cols
            widths[column] -= max(min(over, widths[column] - _LEAST), 0)
    return "".join(
        "  ".join([*(_fitted(*each) for each in zip(row, widths, strict=False)), row[-1]]).rstrip() + "\n"
        for row in rows
    )


def _fitted(cell: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return set_cell_size(cell, width) if cell_len(cell) <= width else f"{set_cell_size(cell, width - 1)}…"
