"""A run as plain lines, one a second and one for every event; with --json one object for every frame.

TARGET as for the screen: a live run, HOST: or HOST:RUN, or a recording by path or name, which is printed whole.
"""

from __future__ import annotations

import re
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from lsmon.protocol.codec import encode
from lsmon.protocol.counts import counted
from lsmon.protocol.frames import Alert, AnyFrame, RunEnded
from lsmon.protocol.sources.source import OVER, Source

from ..lines import Lines
from ..target import Reach, add_target, locate, opened

LOSSY = 3
"""Exit code when frames are missing from what was printed."""
PAUSE_SECS = 0.05
"""Between two looks at a source that had nothing: twenty a second feel immediate and cost nothing."""


def add(parser: ArgumentParser) -> None:
    add_target(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a frame")


def run(args: Namespace) -> int:
    return print_target(args.target, Reach.of(args), args.json)


def print_target(target: str, reach: Reach, json: bool = False) -> int:
    """A run as long as it goes on, or a recording."""
    where = locate(target, reach)
    return print_recording(where, json) if isinstance(where, Path) else follow(where, json)


def print_recording(path: Path, json: bool = False) -> int:
    """All of a recording at once, however long it took to make."""
    recording = opened(path)
    try:
        printer = Printer(json)
        for frame in recording.frames():
            printer.show(frame)
        for words in recording.damage:
            printer.talk(words)
        printer.finish("" if recording.ended else "ended early: the recording has no end")
        return LOSSY if recording.lost else 0
    finally:
        recording.close()


def follow(source: Source, json: bool = False, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Print a source until it is over (or ``stop()`` says so), and say in words how it is doing when that changes."""
    printer, said = Printer(json), ""
    try:
        while True:
            over = source.link.phase in OVER or stop()
            frames = source.read()
            for frame in frames:
                printer.show(frame)
            if frames:
                sys.stdout.flush()  # into a pipe it would wait for 8 kB, which a quiet run says in a minute
            else:
                words = source.link.words or source.link.phase
                subject = re.sub(r"\d+", "", words)  # "nothing heard for 4 s" is no news after "for 3 s"
                if subject != said and source.link.phase != "live" and not printer.ended:
                    printer.talk(words)
                said = subject
                if over:
                    break
                time.sleep(PAUSE_SECS)
        return LOSSY if source.link.lost else 0
    finally:
        source.close()
        printer.finish("")


class Printer:
    """Frames to stdout, talk to stderr."""

    def __init__(self, json: bool) -> None:
        self._json = json
        self._lines = Lines()
        self._reached = 0, 0
        """Attempt, and the step that it came to."""
        self._alerts = 0
        self.ended = False

    def show(self, frame: AnyFrame) -> None:
        self._reached = max(self._reached, (frame.attempt, frame.step))
        self._alerts += isinstance(frame, Alert)
        self.ended = self.ended or isinstance(frame, RunEnded)
        if self._json:
            sys.stdout.write(encode(frame).decode() + "\n")
        else:
            for line in self._lines.fold(frame):
                sys.stdout.write(line + "\n")

    def talk(self, words: str) -> None:
        sys.stderr.write(f"lsmon: {words}\n")

    def finish(self, words: str) -> None:
        """The last numbers, and where the recording is."""
        if not self._json:
            for line in self._lines.rest():
                sys.stdout.write(line + "\n")
            if self._lines.recording:
                sys.stdout.write(
                    f"step {self._reached[1]}, {counted(self._alerts, 'alert')}, recorded in {self._lines.recording}\n"
                )
        sys.stdout.flush()
        if words:
            self.talk(words)
