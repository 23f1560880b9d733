"""How the reading of another's file goes: how far it has come, and what could not be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..counts import counted
from ..told import Told, untold
from .rows import as_step

_EVERY = 1 << 16
"""Bytes between two words about how far it has come."""


@dataclass(slots=True)
class Reading:
    size: int = 0
    """Bytes that there are to read."""
    told: Told = untold
    notes: list[str] = field(default_factory=list)
    """What could not be read, or not as it stands there, in words."""
    lost: int = 0
    """Lines and records that could not be read."""
    done: int = 0
    _cut: int = 0
    _next: int = 0

    def passed(self, count: int) -> None:
        """So many bytes more have been read."""
        self.done += count
        if self.done >= self._next:
            self._next = self.done + _EVERY
            self.told(self.done, self.size)

    def step(self, value: float) -> int | None:
        """A step in the file, or None for what is none; a frame has room for whole ones only."""
        step = as_step(value)
        self._cut += step is not None and step != value
        return step

    def missing(self, words: str, count: int = 1) -> None:
        """What could not be read."""
        self.notes.append(words)
        self.lost += count

    def over(self, unread: int) -> None:
        """All of it has been read, but for so many lines."""
        if unread:
            self.missing(f"{counted(unread, 'line')} could not be read", unread)
        if self._cut:
            self.notes.append(f"{counted(self._cut, 'line')} with a fraction of a step, which is cut off")
