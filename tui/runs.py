"""The runs of a machine, live and recorded, in the order a person looks for them; and those elsewhere."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Literal

import msgspec

from lsmon.protocol.cards import read_cards
from lsmon.protocol.clean import clean_line, clean_name
from lsmon.protocol.errors import LsmonError, Unreachable
from lsmon.protocol.places import recordings_dir
from lsmon.protocol.recording.ending import ending
from lsmon.protocol.recording.folder import last_written, list_recordings, read_meta
from lsmon.protocol.wire.carried import answer
from lsmon.protocol.wire.carrier import Carrier

from .format import age

ANSWER_SECS = 20.0
"""A cold ssh takes 0.6 s here; behind two jump hosts and a slow agent it may take ten times as long."""


STALE_SECS = 10.0
"""Since a recording that is flushed every half a second last grew; a busy disk may take some."""


_Odd = Literal["", "nan", "inf", "-inf"]
_ODD: dict[str, _Odd] = {"nan": "nan", "inf": "inf", "-inf": "-inf"}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``lsmon ls``."""

    state: Literal["live", "stale", "finished", "stopped", "failed", "ended early"]
    """Stale: its process is there, but its recording stands still. Stopped: by a person, with Ctrl-C."""
    name: str
    run: str
    host: str
    pid: int
    started: float
    """Unix time in seconds."""
    steps: int | None = None
    """Last step; None where only opening the recording would tell, which is done with the course."""
    recording: str = ""
    place: str = ""
    """Where it was asked for: a host as the person calls it, or the words of --via; empty for this machine."""
    loss: tuple[float, ...] = ()
    """Its course in a few points, oldest first; only where it was asked for."""
    last: float | None = None
    """The last loss, as the course; None where it is not known, and where it was not finite: ..."""
    odd: _Odd = ""
    """... JSON has no number for what it was then."""
    idle: float = 0.0
    """Seconds since the last step of a live one, where that is much longer than usual; else 0."""

    @property
    def last_loss(self) -> float | None:
        """The last of the course where no other is known, as of a host with an older lsmon."""
        if self.odd:
            return float(self.odd)
        return self.last if self.last is not None or not self.loss else self.loss[-1]

    @property
    def words(self) -> str:
        """Its state, for a person."""
        return f"idle {age(self.idle)}" if self.idles else self.state

    @property
    def idles(self) -> bool:
        """Whether it lives and does not go on."""
        return self.state == "live" and self.idle > 0

    @property
    def lives(self) -> bool:
        """Whether its process is there."""
        return self.state in ("live", "stale")


def with_course(run: Run) -> Run:
    """With the course of its loss and its last recorded step, as far as the recording can be read."""
    if not run.recording:
        return run
    from lsmon.protocol.recording.reader import Recording

    from .loss_course import last_loss, loss_course

    try:
        with Recording.open(Path(run.recording)) as recording:
            loss, last, last_step = loss_course(recording), last_loss(recording), recording.last_step
    except LsmonError:
        return run
    odd = "" if last is None or math.isfinite(last) else _ODD[str(last)]
    return msgspec.structs.replace(run, loss=loss, last=None if odd else last, odd=odd, steps=last_step)


def local_runs() -> list[Run]:
    """Live runs, then recorded ones, each the newest first."""
    now = time.time()
    live = [
        Run(
            state=_pulse(card.recording),
            name=card.name,
            run=card.run,
            host=card.host,
            pid=card.pid,
            started=card.started,
            recording=card.recording,
            idle=max(now - card.idle_since, 0.0) if card.idle_since else 0.0,
        )
        for card in read_cards()
        if card.alive
    ]
    return live + _recorded({run.run for run in live})


def _pulse(recording: str) -> Literal["live", "stale"]:
    written = last_written(Path(recording)) if recording else None
    return "live" if written is None or time.time() - written < STALE_SECS else "stale"


def _recorded(live: set[str]) -> list[Run]:
    runs = []
    for folder in list_recordings(recordings_dir()):
        meta = read_meta(folder)
        header = meta.run if meta else None
        if meta is None or header is None:
            runs.append(
                Run(
                    state="ended early",
                    name=clean_name(folder.name),
                    run="",
                    host="",
                    pid=0,
                    started=folder.stat().st_mtime,
                    recording=str(folder),
                )
            )
        elif header.run not in live:
            runs.append(
                Run(
                    state=ending(meta.ended),
                    name=header.name,
                    run=header.run,
                    host=header.host,
                    pid=header.pid,
                    started=header.wall,
                    steps=meta.last_step if meta.ended else None,
                    recording=str(folder),
                )
            )
    return runs


def remote_runs(carrier: Carrier, *options: str) -> list[Run]:
    """What ``lsmon ls`` says there, with these options of it.

    Raises Unreachable.
    """
    try:
        said = answer(carrier.command("ls", "--json", *options), ANSWER_SECS)
    except Unreachable as error:
        raise Unreachable(f"{error} The place is {carrier.name}.") from None
    runs = _listed(said.out)
    if runs is None:
        raise Unreachable(carrier.failure(said.code, said.words))
    return [
        msgspec.structs.replace(
            run,
            name=clean_name(run.name),
            run=clean_name(run.run),
            host=clean_name(run.host),
            recording=clean_line(run.recording),
            place=carrier.name,
        )
        for run in runs
    ]


def _listed(answer: bytes) -> list[Run] | None:
    """The line that is the array: a noisy shell may print before it, and after it."""
    for line in reversed(answer.splitlines()):
        if line.startswith(b"["):
            try:
                return msgspec.json.decode(line, type=list[Run])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
    return None
