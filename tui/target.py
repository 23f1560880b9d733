"""What a person means by TARGET, turned into a source of frames."""

from __future__ import annotations

import re
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lsmon.protocol.cards import Card, read_cards
from lsmon.protocol.clean import clean_line
from lsmon.protocol.errors import NoSuchRun, UsageError
from lsmon.protocol.sources.source import Seekable, Source

if TYPE_CHECKING:
    from lsmon.protocol.recording.reader import Recording
    from lsmon.protocol.told import Told
    from lsmon.protocol.wire.carrier import Carrier

_REMOTE = re.compile(
    r"(?P<host>(?:[^/:\s@]+@)?(?:[^/:\s\[\]]+|\[[0-9a-fA-F:]+\])):(?P<run>[^/]*)"
    r"|(?P<url>ssh://[^/\s]+)(?:/(?P<there>[^/]*))?"
)

STARTS_SECS, LOOK_SECS = 5.0, 0.05
"""A training records some moments before it can be watched; on a busy machine they are seconds."""

HOW_TO_START = "start one with `with lsmon.probe.Probe(model, optimizer, loss_fn) as probe:` or `lsmon demo`"


class Reach(NamedTuple):
    """How another place is reached, as far as the person says."""

    remote_command: tuple[str, ...] = ()
    via: str = ""

    @staticmethod
    def of(args: Namespace) -> Reach:
        """Raises UsageError."""
        from lsmon.protocol.wire.carrier import split

        return Reach(tuple(split(args.remote_command, "--remote-command")), args.via)


def add_target(parser: ArgumentParser) -> None:
    parser.add_argument("target", nargs="?", default="", metavar="TARGET")
    add_reach(parser)


def add_reach(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--remote-command",
        default="",
        metavar="CMD",
        help="how to call lsmon on HOST when it is not found there, e.g. '.venv/bin/lsmon'",
    )
    parser.add_argument(
        "--via",
        default="",
        metavar="CMD",
        help="run lsmon behind this command instead of ssh, e.g. 'srun --jobid 7 --overlap', "
        "'kubectl exec -i pod --', 'docker exec -i box'; TARGET is the run there",
    )


def place(target: str, reach: Reach) -> tuple[Carrier, str] | None:
    """The place that ``target`` names, and the run there, if it names one. Raises UsageError for what is no host."""
    from lsmon.protocol.wire.carrier import ssh, via

    remote = _REMOTE.fullmatch(target)
    if reach.via:
        if remote:
            raise UsageError("--via says where already; name the run alone.")
        return via(reach.via, reach.remote_command), target
    if not remote or Path(target).exists():
        return None
    host, run = (remote["url"], remote["there"]) if remote["url"] else (remote["host"], remote["run"])
    return ssh(re.sub(r"\[([0-9a-fA-F:]+)\]$", r"\1", host), reach.remote_command), run or ""


def live_cards() -> list[Card]:
    """Cards of the runs whose process is there, newest first."""
    return [card for card in read_cards() if card.alive]


def locate(target: str, reach: Reach = Reach()) -> Source | Path:  # noqa: B008  it is immutable
    """What ``target`` names: a run here or elsewhere as a source, a recorded one as a path. Nothing: the one live run.

    Raises NoSuchRun or UsageError.
    """
    if not target and not reach.via:
        return live(pick("", live_cards()))
    if target.startswith("tcp://"):
        from lsmon.protocol.sources.tcp import Tcp
        from lsmon.protocol.wire.address import address

        return Tcp(address(target))
    if target.startswith("ipc://"):
        raise UsageError(
            "A socket of this machine is found by the name of its run; `lsmon ls` lists what there is."
        )
    there = place(target, reach)
    if there is not None:
        return remote(*there)
    try:
        named = Path(target).expanduser() if _is_path(target) else of_this_machine(target)
        return named if isinstance(named, Path) else live(named)
    except NoSuchRun as error:
        from lsmon.protocol.wire.carrier import known_to_ssh, ssh

        if "@" in target or known_to_ssh(target):
            return remote(ssh(target, reach.remote_command), "")
        raise NoSuchRun(f"{error} A host is written with a colon, `HOST:`.") from None


def of_this_machine(name: str) -> Card | Path:
    """The run of that name, id or pid: live, or recorded. A whole name wins over the beginning of another, and then
    what is live over what is over.

    Raises NoSuchRun, or UsageError when several are meant.
    """
    from .recorded import recorded, recorded_exactly

    found = matching(name, live_cards())
    while not found:
        path = recorded(name)
        if not _starts(path):
            return path
        time.sleep(LOOK_SECS)
        found = matching(name, live_cards())
    over = None if name in _names(found[0]) else recorded_exactly(name)
    return over or pick(name, found)


def _starts(folder: Path) -> bool:
    """Whether it has only just begun to record, and not ended yet."""
    from lsmon.protocol.recording.folder import read_meta

    meta = read_meta(folder)
    header = meta.run if meta is not None else None
    try:
        began = header.wall if header is not None else folder.stat().st_mtime
    except OSError:
        return False
    return not (meta is not None and meta.ended) and 0 <= time.time() - began < STARTS_SECS


def find(target: str, reach: Reach = Reach()) -> Source:  # noqa: B008
    """As ``locate``, and a recording as a source too, at its end. Raises also what opening it raises."""
    where = locate(target, reach)
    return open_at_end(where) if isinstance(where, Path) else where


def remote(carrier: Carrier, run: str) -> Source:
    from lsmon.protocol.sources.remote import Remote

    return Remote(carrier, run)


def live(card: Card) -> Source:
    from lsmon.protocol.sources.live import Live

    return Live(card)


def opened(path: Path) -> Recording:
    """As ``open_path``; what takes longer than a second is told on stderr."""
    from lsmon.protocol.sources.opening import open_path

    from .progress import Progress

    with Progress(f"reading {path.name}") as told:
        return open_path(path, told)


def open_recording(path: Path, speed: float = 1.0, told: Told | None = None) -> Seekable:
    """``told`` hears how far reading has come, where much has to be read; else it is told on stderr."""
    from lsmon.protocol.sources.opening import open_path
    from lsmon.protocol.sources.replay import Replay

    from .progress import Progress

    with Progress(f"reading {path.name}") as line:
        replay = Replay(open_path(path, told or line), speed=speed)
        _ = replay.timeline  # without an overview all of it is read now, while it can be told
    return replay


def open_at_end(path: Path, told: Told | None = None) -> Seekable:
    """Standing still: who names a run that is over wants to see what became of it."""
    replay = open_recording(path, told=told)
    replay.play(False)
    replay.seek_end()
    return replay


def recording_path(target: str) -> Path:
    """A path as it is; else the recording that ``target`` names.

    Raises NoSuchRun, or UsageError when several are meant.
    """
    if _is_path(target):
        return Path(target).expanduser()
    from .recorded import recorded

    return recorded(target)


def _is_path(target: str) -> bool:
    return "/" in target or Path(target).exists()


def matching(target: str, cards: Sequence[Card]) -> list[Card]:
    """Cards whose name, pid or id (or its beginning) is ``target``; an exact name wins over a prefix."""
    exact = [card for card in cards if target in _names(card)]
    return exact or [card for card in cards if card.run.startswith(target) or card.name.startswith(target)]


def _names(card: Card) -> tuple[str, ...]:
    return card.name, card.run, str(card.pid)


def pick(target: str, cards: Sequence[Card]) -> Card:
    """The one card that ``target`` (or nothing) names.

    Raises NoSuchRun when there is none, UsageError when there are several.
    """
    found = matching(target, cards) if target else list(cards)
    if not found:
        raise NoSuchRun(
            f"No live run is called {clean_line(target, 80)!r}; `lsmon ls` lists what there is."
            if target
            else f"No training with a probe is running here; {HOW_TO_START}."
        )
    if len(found) > 1:
        names = ", ".join(f"{card.name} ({card.run[:8]})" for card in found[:5])
        raise UsageError(f"Several runs are live, name one of them: {names}.")
    return found[0]
