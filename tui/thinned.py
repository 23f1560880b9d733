"""The past of something that is too large to keep every time it is measured: evenly thinned, in bounded memory."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Thinned(Generic[T]):
    """Keeps every ``stride``-th item, and twice the stride whenever that is more than ``cap``; the newest is always in.

    A function of the sequence of items alone, so that a replay keeps what the live screen kept.
    """

    __slots__ = ("_cap", "_count", "_items", "_kept", "_newest", "_stride")

    def __init__(self, cap: int) -> None:
        self._cap, self._stride, self._count = cap, 1, 0
        self._items: list[T] = []
        self._newest: T | None = None
        self._kept: tuple[T, ...] | None = ()

    def append(self, item: T) -> None:
        self._kept = None
        self._newest = item
        if self._count % self._stride == 0:
            self._items.append(item)
            if len(self._items) > self._cap:
                self._stride *= 2
                self._items = self._items[::2]
        self._count += 1

    def items(self) -> tuple[T, ...]:
        """In order; the same object as long as nothing was added."""
        if self._kept is None:
            newest = self._newest
            last = () if newest is None or (self._items and self._items[-1] is newest) else (newest,)
            self._kept = (*self._items, *last)
        return self._kept
