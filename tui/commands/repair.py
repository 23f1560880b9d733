"""Write what can be read of a damaged recording to a new folder; what is missing is counted and said.

Exit code 0 when nothing is missing, 3 when something is, 1 when nothing could be saved.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lsmon.protocol.counts import counted, grouped
from lsmon.protocol.recording.repair import repair

from ..progress import Progress
from ..target import recording_path

LOSSY = 3


def add(parser: ArgumentParser) -> None:
    parser.add_argument(
        "damaged", metavar="IN", help="a recording: its folder, one file of it, its name or id"
    )
    parser.add_argument("into", metavar="OUT", help="a folder that does not exist yet")


def run(args: Namespace) -> int:
    with Progress("repairing") as told:
        repaired = repair(recording_path(args.damaged), Path(args.into).expanduser(), told)
    of = f"{grouped(repaired.frames)} of " if repaired.lost else ""
    steps = f"steps {grouped(repaired.first_step)} to {grouped(repaired.last_step)}"
    sys.stdout.write(f"{of}{counted(repaired.frames + repaired.lost, 'frame')}, {steps}, in {args.into}\n")
    for words in repaired.damage or ("nothing between them is missing",):
        sys.stdout.write(f"{words}\n")
    return LOSSY if repaired.lost or repaired.damage else 0
