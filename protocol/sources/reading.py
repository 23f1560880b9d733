"""How the reading of another's file goes: how far it has come, and what could not be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..counts import counted
from ..told import Told, untold

_EVERY = 1 << 16
"""Bytes between two words about how far it has come."""


@dataclass(slots=True)
class Reading:
    size: int = 0
    """Bytes that there are to read."""
    told: Told = untold
    notes: list[str] = field(default_factory=list)
    """What could not be read, in words."""
    done: int = 0
    _next: int = 0

    def passed(self, count: int) -> None:
        """So many bytes more have been read."""
        self.done += count
        if self.done >= self._next:
            self._next = self.done + _EVERY
            self.told(self.done, self.size)

    def unread(self, lines: int) -> None:
        """So many lines could not be read."""
        if lines:
            self.notes.append(f"{counted(lines, 'line')} could not be read")
