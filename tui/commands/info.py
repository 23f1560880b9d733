"""Say what a recording, given by path, name or id, holds: its run, steps and frames, gaps, drops, damage, alerts, and what the probe cost.

A CSV or JSON-lines file and TensorBoard events are described too, as far as they say it: steps, quantities, lines that cannot be read, alerts.
"""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

import msgspec

from lsmon.protocol import names
from lsmon.protocol.clean import clean_line
from lsmon.protocol.counts import counted, grouped
from lsmon.protocol.process import is_alive
from lsmon.protocol.recording.about import About
from lsmon.protocol.recording.ending import EARLY, in_full
from lsmon.protocol.sources.imported import Imported
from lsmon.protocol.sources.opening import open_path

from ..format import clock, duration, percent, size
from ..progress import Progress
from ..target import recording_path

MOST_NAMES = 24
"""Quantities that are named; more than that is a page of its own, and --json has them all."""

UNKNOWN = "such a file does not say how its training ended"

OF_A_FILE = ("name", "state", "first_step", "last_step", "attempts", "bytes", "damage", "names", "alerts")


def add(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: Namespace) -> int:
    path = recording_path(args.path)
    with Progress(f"reading {path.name}") as told, open_path(path, told) as recording:
        about = About.of(recording)
        header = recording.header
        origin = str(recording.origin) if isinstance(recording, Imported) else ""
    alive = is_alive(header.pid, header.boot, header.pid_started)
    state = UNKNOWN if origin else "running" if alive and not about.ended else in_full(about.ended)
    if args.json:
        facts = msgspec.to_builtins(about) | {"state": state}
        if origin:  # of which nothing is known but what was in the file
            facts = {name: facts[name] for name in OF_A_FILE} | {"file": origin}
        sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
    else:
        for label, words in foreign_page(about, origin) if origin else page(about, state):
            sys.stdout.write(f"{label:<9} {words}\n")
    return 0


def page(about: About, state: str) -> Iterator[tuple[str, str]]:
    """Label and words, a line each; what did not happen is said too, since that is what one looks for."""
    yield "run", f"{about.name} ({about.run}) on {about.host}" if about.host else about.name
    if about.command:
        yield "command", shlex.join(about.command)
    yield "started", f"{clock(about.started)}, recorded for {duration(about.seconds)}"
    yield "state", " ".join(state.split())  # an exception may have had several lines
    attempts = "" if about.attempts == 1 else f" in {counted(about.attempts, 'attempt')}"
    yield "steps", f"{grouped(about.first_step)} to {grouped(about.last_step)}{attempts}"
    files = counted(about.segments, "file")
    yield "frames", f"{grouped(about.frames)} in {files}, {size(about.bytes)}"
    lost = counted(about.lost, "frame") if about.lost else "nothing"
    if state == EARLY:  # killed, or without room on its disk: neither could be written
        lost += f" up to step {grouped(about.last_step)}; if it went on after that, it is not in here"
    yield "lost", lost
    yield (
        "dropped",
        "nothing" if not about.dropped else f"{counted(about.dropped, 'frame')}, by the probe's full queue",
    )
    yield from contents(about)
    if about.share is not None:
        yield "probe", f"{percent(about.share)} of the wall time"


def foreign_page(about: About, origin: str) -> Iterator[tuple[str, str]]:
    """The same of a file that lsmon did not write."""
    yield "file", f"{clean_line(origin)}, {size(about.bytes)}"
    attempts = "" if about.attempts == 1 else f"; {counted(about.attempts - 1, 'time')} they go back"
    yield "steps", f"{grouped(about.first_step)} to {grouped(about.last_step)}{attempts}"
    yield "state", UNKNOWN
    yield from contents(about)


def contents(about: About) -> Iterator[tuple[str, str]]:
    """Quantities, damage, and alerts."""
    shown = ", ".join(about.names[:MOST_NAMES])
    more = len(about.names) - MOST_NAMES
    least = "at least " if len(about.names) >= names.MOST_NAMES else ""  # so many are told of
    yield "holds", (f"{shown} and {least}{more} more" if more > 0 else shown) or "no numbers"
    for words in about.damage:
        yield "damage", words
    alerts = ", ".join(f"{kind} {count}" for kind, count in sorted(about.alerts.items()))
    yield "alerts", alerts or "none"
