"""List the runs of this machine, or of HOST over ssh: the live ones, then the recorded ones, newest first."""

from __future__ import annotations

import shlex
import sys
import time
from argparse import ArgumentParser, Namespace

import msgspec

from ..format import age
from ..runs import Run, local_runs, remote_runs
from ..target import HOW_TO_START, add_remote_command


def add(parser: ArgumentParser) -> None:
    parser.add_argument("host", nargs="?", default="", metavar="HOST")
    parser.add_argument("--json", action="store_true", help="one JSON array")
    add_remote_command(parser)


def run(args: Namespace) -> int:
    host = args.host.rstrip(":")
    runs = remote_runs(host, shlex.split(args.remote_command)) if host else local_runs()
    if args.json:
        sys.stdout.write(msgspec.json.encode(runs).decode() + "\n")
    elif not runs:
        sys.stderr.write(f"No runs{f' on {host}' if host else ''}; {HOW_TO_START}.\n")
    else:
        sys.stdout.write(table(runs, time.time()))
    return 0


def table(runs: list[Run], now: float) -> str:
    """Columns as wide as they must be; the path last, since it is the longest."""
    rows = [("STATE", "NAME", "ID", "HOST", "PID", "STARTED", "RECORDING")]
    rows += [
        (
            run.state,
            run.name,
            run.run[:8],
            run.host,
            str(run.pid or ""),
            f"{age(now - run.started)} ago",
            run.recording,
        )
        for run in runs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        + "\n"
        for row in rows
    )
