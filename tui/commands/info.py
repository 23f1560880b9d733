"""Say what a recording, given by path, name or id, holds: its run, steps and frames, gaps, drops, damage, alerts, and what the probe cost."""

from __future__ import annotations

import shlex
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

import msgspec

from lsmon.protocol.process import is_alive
from lsmon.protocol.recording.about import About
from lsmon.protocol.recording.reader import Recording

from ..format import counted, duration, grouped, percent, short
from ..target import recording_path


def add(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: Namespace) -> int:
    recording = Recording.open(recording_path(args.path))
    try:
        about = About.of(recording)
        header = recording.header
    finally:
        recording.close()
    state = about.ended or (
        "running" if is_alive(header.pid, header.boot, header.pid_started) else "ended early"
    )
    if args.json:
        facts = msgspec.to_builtins(about) | {"state": state}
        sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
    else:
        for label, words in page(about, state):
            sys.stdout.write(f"{label:<9} {words}\n")
    return 0


def page(about: About, state: str) -> Iterator[tuple[str, str]]:
    """Label and words, a line each; what did not happen is said too, since that is what one looks for."""
    yield "run", f"{about.name} ({about.run}) on {about.host}" if about.host else about.name
    if about.command:
        yield "command", shlex.join(about.command)
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(about.started))
    yield "started", f"{began}, recorded for {duration(about.seconds)}"
    yield "state", " ".join(state.split())  # an exception may have had several lines
    attempts = "" if about.attempts == 1 else f" in {counted(about.attempts, 'attempt')}"
    yield "steps", f"{grouped(about.first_step)} to {grouped(about.last_step)}{attempts}"
    files = counted(about.segments, "file")
    yield "frames", f"{grouped(about.frames)} in {files}, {short(about.bytes)}B"
    yield "lost", "nothing" if not about.lost else counted(about.lost, "frame")
    yield (
        "dropped",
        "nothing" if not about.dropped else f"{counted(about.dropped, 'frame')}, by the probe's full queue",
    )
    for words in about.damage:
        yield "damage", words
    alerts = ", ".join(f"{kind} {count}" for kind, count in sorted(about.alerts.items()))
    yield "alerts", alerts or "none"
    if about.share is not None:
        yield "probe", f"{percent(about.share)} of the wall time"
