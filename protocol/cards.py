"""Session cards: a small file a run, beside the recordings, by which viewers and ssh sessions find it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import msgspec

from .clean import clean_line, clean_name
from .errors import LsmonError
from .places import cards_dir, make_private, state_dir
from .process import is_alive

RUN_ID = re.compile(r"[0-9a-z-]{1,64}")
KEEP_SECS = 30 * 86400.0
"""A run that was killed leaves its card and sockets. Viewers that watch it may still look; nobody does after a month."""
_CARD_BYTES = 1 << 16
"""Ours are below 1 KB; a larger file is not a card and is not read."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Who trains where, and how to reach it."""

    run: str
    name: str
    host: str
    pid: int
    boot: str
    pid_started: int
    live: str
    """Path of the socket that publishes frames."""
    ask: str
    """Path of the socket that answers requests for history."""
    recording: str = ""
    """Folder of the recording; empty when not recorded."""
    started: float = 0.0
    """Unix time in seconds."""
    lsmon: str = ""
    idle_since: float = 0.0
    """Since when there has been no step, in Unix time; 0 while the loop goes on."""

    @property
    def alive(self) -> bool:
        """Whether the process that trains is still there, on this machine."""
        return is_alive(self.pid, self.boot, self.pid_started)


def write_card(card: Card) -> Path:
    """Put the card where viewers look, in one move, and beside it the path of this Python, for ``lsmon`` over ssh.

    Raises LsmonError when that folder cannot be written to.
    """
    path = _path(card.run)
    try:
        make_private(path.parent)
        _write(path, msgspec.json.encode(card))
        _write(python_file(), os.fsencode(sys.executable or ""))
        _sweep(card)
    except OSError as error:
        raise LsmonError(
            f"Cannot write the session card ({(error.strerror or str(error)).lower()}); set LSMON_DIR to a folder that "
            f"can be written to, instead of {path.parent}"
        ) from None
    return path


def read_cards() -> list[Card]:
    """All cards that can be read, the newest first. Files that are not cards are passed over."""
    try:
        paths = [path for path in cards_dir().iterdir() if path.suffix == ".json"]
    except OSError:
        return []
    cards = [card for path in paths if (card := _read(path)) is not None]
    return sorted(cards, key=lambda card: (card.started, card.run), reverse=True)


def _write(path: Path, content: bytes) -> None:
    """In one move, and for its owner alone."""
    draft = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)


def python_file() -> Path:
    """Holds the path of the interpreter that trained last: lsmon is certainly there, whatever the PATH is."""
    return state_dir() / "python"


def has_card(run: str) -> bool:
    """Whether the run's card lies there: a training that ends takes it away, one that is killed leaves it."""
    return _path(run).exists()


def remove_card(run: str) -> None:
    """Take the card away; one that is gone already is fine."""
    try:
        _path(run).unlink(missing_ok=True)
    except OSError:
        pass


def _sweep(newest: Card) -> None:
    """Away with what runs of this host left behind when they were killed long ago."""
    for card in read_cards():
        if card.host == newest.host and newest.started - card.started > KEEP_SECS and not card.alive:
            _path(card.run).unlink(missing_ok=True)
            for ending in (".live", ".ask"):
                (Path(newest.live).parent / f"{card.run}{ending}").unlink(missing_ok=True)


def _path(run: str) -> Path:
    if not RUN_ID.fullmatch(run):
        raise LsmonError(f"A run's id has 1 to 64 of 0-9, a-z and -, unlike {clean_name(run)!r}.")
    return cards_dir() / f"{run}.json"


def _read(path: Path) -> Card | None:
    try:
        # Neither a fifo, which would hold us up, nor a link to a file that is not ours to read.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            card = msgspec.json.decode(file.read(_CARD_BYTES), type=Card)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if card.run != path.stem or not RUN_ID.fullmatch(card.run) or "\0" in card.live + card.ask:
        return None
    return msgspec.structs.replace(
        card,
        name=clean_name(card.name),
        host=clean_name(card.host),
        recording=clean_line(card.recording),
        lsmon=clean_name(card.lsmon),
    )
