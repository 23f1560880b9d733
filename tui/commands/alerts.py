"""Run the detectors over a recording: one alert a line, at the step at which a live run would have raised it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

import msgspec

from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.frames import Alert
from lsmon.protocol.recording.reader import Recording

from ..target import recording_path

FIELDS = ("kind", "step", "onset_step", "severity", "message", "evidence", "advice")


def add(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("--json", action="store_true", help="one JSON object an alert")


def run(args: Namespace) -> int:
    recording = Recording.open(recording_path(args.path))
    try:
        for alert in raised(recording):
            if args.json:
                # JSON has no NaN: a value that is none is null here.
                facts = {name: getattr(alert, name) for name in FIELDS}
                sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
            else:
                kind = alert.kind.replace("_", " ")
                since = f" (since {alert.onset_step})" if alert.onset_step < alert.step else ""
                sys.stdout.write(f"step {alert.step}{since}  {kind}: {' '.join(alert.message.split())}\n")
    finally:
        recording.close()
    return 0


def raised(recording: Recording) -> Iterator[Alert]:
    """What today's detectors say of these frames; the alerts that were recorded are left out."""
    watch = Watch()
    for frame in recording.frames():
        if not isinstance(frame, Alert):
            yield from watch.see(frame)
