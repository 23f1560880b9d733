"""Wait for alerts of a live run without a screen, and do something about them: for people who are away.

TARGET as for the screen. Alerts are printed, one a line; what happened before is printed too, but only what is news is acted upon.

    lsmon watch my-run --on-alert 'mail -s "$LSMON_KIND" me@example.org'
    lsmon watch box-3: --webhook https://example.org/hook --severity warning
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from lsmon.protocol.errors import LsmonError, UsageError
from lsmon.protocol.frames import Alert, AnyFrame, RunStarted
from lsmon.protocol.sources.source import OVER, Source

from ..alarms import Alarm, Alarms, Command, Webhook, facts_of
from ..news import News
from ..ringing import Terminal, add_ringing
from ..target import Reach, add_target, locate

PAUSE_SECS = 0.1
"""Between two looks at a source that had nothing: soon enough for an alert."""

SEVERITIES = ("info", "warning", "critical")


def add(parser: ArgumentParser) -> None:
    add_target(parser)
    parser.add_argument(
        "--on-alert",
        metavar="CMD",
        help="shell command; LSMON_KIND, LSMON_MESSAGE, … tell it what, JSON on its input tells all",
    )
    parser.add_argument("--webhook", metavar="URL", help="POST each alert as JSON, with retries")
    add_ringing(parser)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="KIND",
        help="act on this kind of alert; may be repeated",
    )
    parser.add_argument(
        "--severity", choices=SEVERITIES, default="info", help="act on alerts at least so severe"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object an alert")  # fmt: skip


def run(args: Namespace) -> int:
    alarms = [*_alarms(args)]
    where = locate(args.target, Reach.of(args))
    if isinstance(where, Path):
        raise UsageError(f"This run is over; `lsmon alerts` lists what happened in it: {where}")
    told = Alarms(alarms, _talk)
    patience = {}
    try:
        follow(where, Watcher(told, json=args.json, only=args.only, severity=args.severity))
    except KeyboardInterrupt:
        patience = {"secs": 2.0}
        raise
    finally:
        where.close()
        told.close(**patience)
    return 0


def follow(source: Source, watcher: Watcher, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Until the run is over. Raises LsmonError when its process is gone without an end, or out of reach."""
    while True:
        link = source.link
        frames = source.read()
        for frame in frames:
            watcher.see(frame)
        if frames:
            continue
        watcher.silent(link.phase in ("stale", "dead"), link.words, dead=link.phase == "dead")
        if link.phase in OVER:
            watcher.finish()
            if link.phase == "dead":
                raise LsmonError(link.words or "The training process is gone.")
            return
        pause(PAUSE_SECS)


class Watcher:
    """Prints alerts, and passes on those that are news."""

    def __init__(
        self, alarms: Alarms, *, json: bool = False, only: list[str] | None = None, severity: str = "info"
    ) -> None:
        self._alarms = alarms
        self._json = json
        self._only = frozenset(only or ())
        self._least = SEVERITIES.index(severity)
        self._run = self._host = ""
        self._step = 0
        self._news = News()
        self._quiet = False

    def see(self, frame: AnyFrame) -> None:
        self._step = max(self._step, frame.step)
        if isinstance(frame, RunStarted):
            self._run, self._host = frame.name, frame.host
        elif isinstance(frame, Alert):
            self._print(frame)
        for alert in self._news.see(frame):
            self._act(alert)

    def finish(self) -> None:
        """The history has been told."""
        for alert in self._news.settle():
            self._act(alert)

    def silent(self, quiet: bool, words: str, *, dead: bool) -> None:
        """The link has, or has not, gone silent; told once a silence."""
        if quiet and not self._quiet:
            alert = Alert(
                kind="silent", severity="critical" if dead else "warning", step=self._step, onset_step=self._step, wall=time.time(),
                message=words or "Nothing is heard of the training.", advice="Look whether the process and its host are there.",
            )  # fmt: skip
            self._print(alert)
            self._act(alert)
        self._quiet = quiet

    def _act(self, alert: Alert) -> None:
        wanted = not self._only or alert.kind in self._only
        if wanted and SEVERITIES.index(alert.severity) >= self._least:
            self._alarms.tell(alert, self._run, self._host)

    def _print(self, alert: Alert) -> None:
        facts = facts_of(alert, self._run, self._host)
        line = msgspec.json.encode(facts).decode() if self._json else facts["text"]
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _alarms(args: Namespace) -> Iterator[Alarm]:
    if args.on_alert:
        yield Command(args.on_alert)
    if args.webhook:
        yield Webhook(args.webhook)
    if args.bell or args.notify:
        yield Terminal(args.bell, args.notify, _to_terminal)


def _to_terminal(text: str) -> None:
    """To the terminal whatever stdout is; to nobody where there is none."""
    if sys.stderr.isatty():
        sys.stderr.write(text)
        sys.stderr.flush()


def _talk(words: str) -> None:
    sys.stderr.write(f"lsmon: {words}\n")
    sys.stderr.flush()
