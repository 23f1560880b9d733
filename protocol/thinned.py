"""The past of something that is too large to keep every time it is measured: evenly thinned, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Thinned(Generic[T]):
    """Keeps every ``stride``-th item, and twice the stride whenever together they weigh more than ``cap``; the newest is
    always in. An item weighs one unless told otherwise.

    A function of the sequence of items alone, so that a replay keeps what the live screen kept.
    """

    __slots__ = ("_cap", "_count", "_items", "_kept", "_newest", "_stride", "_weight", "weight")

    def __init__(self, cap: int, weight: Callable[[T], int] = lambda item: 1) -> None:
        self._cap, self._stride, self._count = cap, 1, 0
        self._weight = weight
        self._items: list[T] = []
        self._newest: T | None = None
        self._kept: tuple[T, ...] | None = ()
        self.weight = 0
        """Of what is kept, the newest aside."""

    def append(self, item: T) -> None:
        self._kept = None
        self._newest = item
        if self._count % self._stride == 0:
            self._items.append(item)
            self.weight += self._weight(item)
            while self.weight > self._cap and len(self._items) > 1:
                self._stride *= 2
                self._items = self._items[::2]
                self.weight = sum(map(self._weight, self._items))
        self._count += 1

    def items(self) -> tuple[T, ...]:
        """In order; the same object as long as nothing was added."""
        if self._kept is None:
            newest = self._newest
            last = () if newest is None or (self._items and self._items[-1] is newest) else (newest,)
            self._kept = (*self._items, *last)
        return self._kept
