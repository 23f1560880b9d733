"""What is known to be missing from a recording, and how it is said."""

from __future__ import annotations

from ..counts import counted, grouped


class Damage:
    """Grows while a recording is read; the same hole, met twice, is one."""

    def __init__(self) -> None:
        self._holes: dict[int, tuple[int, int]] = {}
        """First missing number → how many, and the step near which."""
        self._words: dict[str, None] = {}
        self._unreadable: set[int] = set()

    def hole(self, first: int, count: int, step: int) -> None:
        """``count`` numbered frames from ``first`` on are not there."""
        self._holes[first] = (count, step)

    def unreadable(self, seq: int) -> None:
        """This frame is there and makes no sense."""
        self._unreadable.add(seq)

    def say(self, words: str) -> None:
        self._words[words] = None

    @property
    def lost(self) -> int:
        """Numbered frames known to be missing."""
        return sum(count for count, _ in self._holes.values()) + len(self._unreadable)

    def up_to(self, last_seq: int) -> int:
        """Those of them among the numbers up to this one."""
        missing = sum(count for first, (count, _) in self._holes.items() if first <= last_seq)
        return missing + len(self._unreadable)

    @property
    def words(self) -> tuple[str, ...]:
        holes = [
            f"{counted(count, 'frame')} lost near step {grouped(step)}"
            for _, (count, step) in sorted(self._holes.items())
        ]
        odd = [f"{counted(len(self._unreadable), 'frame')} could not be read"] if self._unreadable else []
        return (*holes, *odd, *self._words)
