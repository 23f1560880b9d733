"""Run the detectors over a recording, a TensorBoard file or folder, a CSV or JSON-lines file: one alert a line.

Each alert has the step at which a live run would have raised it. --set tries other thresholds:

    lsmon alerts run.csv --set saddle.plateau_steps=200 --set grokking.rise=0.2
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import structs

from lsmon.protocol.counts import counted
from lsmon.protocol.detectors.thresholds import Thresholds
from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import Alert
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.sources.opening import open_path

from ..progress import Progress
from ..since import since
from ..target import recording_path

FIELDS = ("kind", "step", "onset_step", "severity", "message", "evidence", "advice", "confidence")

LOSSY = 3
"""Exit code when something of the file is missing."""


def add(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a threshold, such as saddle.plateau_steps=200; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object an alert")


def run(args: Namespace) -> int:
    thresholds = Thresholds().changed(settings(args.set))
    path = recording_path(args.path)
    with Progress(f"reading {path.name}") as told, open_path(path, told) as recording:
        alerts = list(raised(recording, thresholds))
        damage, lost = recording.damage, recording.lost
        steps = recording.last_step - recording.first_step + 1
    for alert in alerts:
        if args.json:
            # JSON has no NaN: a value that is none is null here.
            facts = {name: getattr(alert, name) for name in FIELDS}
            sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
        else:
            kind = alert.kind.replace("_", " ")
            began = f" (since {when})" if (when := since(alert, str)) else ""
            sys.stdout.write(f"step {alert.step}{began}  {kind}: {' '.join(alert.message.split())}\n")
    if not alerts:
        sys.stderr.write(f"lsmon: no alerts in {counted(steps, 'step')}\n")
    for words in damage:
        sys.stderr.write(f"lsmon: {words}\n")
    return LOSSY if lost else 0


def settings(given: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE pairs. Raises UsageError for what is none."""
    pairs = [each.partition("=") for each in given]
    for key, sign, _ in pairs:
        if not sign:
            raise UsageError(f"--set wants KEY=VALUE, such as saddle.plateau_steps=200, and got {key!r}.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def raised(recording: Recording, thresholds: Thresholds | None = None) -> Iterator[Alert]:
    """What today's detectors say of these frames. Of the recorded alerts only those of the probe itself are left: the
    others would be told twice."""
    watch, seq = Watch(thresholds), 0
    for frame in recording.frames():
        if isinstance(frame, Alert):
            if frame.kind in ("probe_fault", "hang"):
                yield frame
            continue
        for alert in watch.see(frame):
            seq -= 1  # only to be told apart from recorded ones
            alert = structs.replace(alert, seq=seq)
            watch.see(alert)
            yield alert
