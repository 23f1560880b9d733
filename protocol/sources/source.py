"""The one door through which frames come to the screen, whether from a socket, a file or a generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from ..frames import AnyFrame

Phase = Literal["connecting", "live", "stale", "dead", "ended", "ended early", "replay"]

OVER: frozenset[Phase] = frozenset({"dead", "ended", "ended early"})
"""After these nothing more comes."""


@dataclass(frozen=True, slots=True)
class Link:
    """How the source is doing, in a word for the status line and a sentence when there is more to say."""

    phase: Phase
    words: str = ""
    """"reconnecting to box-3, attempt 4", "12 frames lost near step 81 000", ..."""
    lost: int = 0
    """Numbered frames that will not come any more."""
    behind: bool = False
    """More of what the run had told before is still to come."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where a replay stands, and what there is to jump to."""

    first_step: int
    last_step: int
    step: int
    speed: float
    playing: bool
    at_end: bool
    alerts: tuple[int, ...] = ()
    """Steps at which an alert was raised, ascending."""


class Source(Protocol):
    """Gives frames in the order of their numbers, each once; a Summary where the frames themselves are too many."""

    @property
    def link(self) -> Link: ...

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        """What has come since the last call, without waiting; an empty list when nothing has."""
        ...

    def close(self) -> None: ...


class Seekable(Source, Protocol):
    """A source that holds its whole past."""

    @property
    def timeline(self) -> Timeline: ...

    def seek(self, step: int) -> None:
        """Go to the state as it was when ``step`` had just been shown.

        The next ``read`` starts over from the first frame, and gives all that leads up to there at once, however much it
        was asked for: whoever folds the frames empties its store first.
        """
        ...

    def seek_end(self) -> None:
        """Go to the state after the last frame: of the last attempt, which may have gone less far than one before."""
        ...

    def play(self, playing: bool) -> None: ...

    def set_speed(self, speed: float) -> None: ...

    def advance(self, frames: int) -> None:
        """One frame (or several) forward while paused; backward is a seek."""
        ...
