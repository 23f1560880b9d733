"""Remove old recordings: those that are not among the newest (--keep) and not young (--older). What is live stays.

With both options a recording must fail both to go. Only files that lsmon recorded are removed.
"""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from lsmon.protocol.cards import read_cards
from lsmon.protocol.counts import counted
from lsmon.protocol.errors import LsmonError, UsageError
from lsmon.protocol.places import recordings_dir
from lsmon.protocol.recording.retention import old, remove

from ..format import age, size

_SECS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def add(parser: ArgumentParser) -> None:
    parser.add_argument("--keep", type=_count, metavar="N", help="keep the N newest recordings, such as 20")
    parser.add_argument(
        "--older", type=_secs, metavar="AGE", help="only what is older, such as 30d, 12h or 8w"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def run(args: Namespace) -> int:
    if args.keep is None and args.older is None:
        raise UsageError("Say what may go: --keep 20, --older 30d, or both; --dry-run shows it first.")
    live = {Path(card.recording).name for card in read_cards() if card.alive}
    found = old(recordings_dir(), keep=args.keep or 0, older_secs=args.older or 0.0, live=live)
    gone, total, troubles = 0, 0, 0
    for folder, held, idle_secs in found:
        try:
            whole = args.dry_run or remove(folder)
        except LsmonError as error:
            sys.stderr.write(f"lsmon: {error}\n")
            troubles += 1
            continue
        gone, total = gone + 1, total + held
        rest = "" if whole else ", but other files are in its folder"
        sys.stdout.write(f"{folder}  {size(held)}, {age(idle_secs)} old{rest}\n")
    verb = "would be removed" if args.dry_run else "removed"
    sys.stderr.write(f"lsmon: {counted(gone, 'recording')} {verb}, {size(total)}.\n")
    return 1 if troubles else 0


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a number of recordings, such as 20")
    return int(text)


def _secs(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not an age, such as 30d, 12h, 90m or 8w")
    return int(found[1]) * _SECS[found[2]]
