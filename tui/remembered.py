"""What the screen remembers from one time to the next: the theme, the enlarged panel, how the curves were looked at."""

from __future__ import annotations

import os

import msgspec

from lsmon.protocol.places import state_dir

from .abscissa import Kind
from .lens import SMOOTHING, Lens

_LARGEST = 1 << 16
"""Bytes: ours has some 200."""


class Remembered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    theme: str = ""
    large: str = ""
    """The panel that was enlarged."""
    log: dict[str, bool] = {}
    """Panel → whether its axis is logarithmic, where a person has chosen."""
    over: Kind = "step"
    """What the curves are drawn over."""
    smoothing: int = 0
    usual: bool = False
    blocks: bool = False

    @property
    def lens(self) -> Lens:
        """The whole run, followed, and no cursor: those belong to the run that was looked at."""
        return Lens(
            kind=self.over, smoothing=self.smoothing % len(SMOOTHING), usual=self.usual, blocks=self.blocks
        )


def recall() -> Remembered:
    """Nothing special, when there is nothing that can be read."""
    try:
        with (state_dir() / "screen.json").open("rb") as file:
            return msgspec.json.decode(file.read(_LARGEST), type=Remembered)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Remembered()


def remember(what: Remembered) -> None:
    """Replaced in one move; a disk that is full or cannot be written to is no reason to complain."""
    folder = state_dir()
    draft = folder / f".screen.json.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.write_bytes(msgspec.json.encode(what))
        draft.replace(folder / "screen.json")
    except OSError:
        draft.unlink(missing_ok=True)
