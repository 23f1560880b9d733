"""How far something long has come, for whoever draws a bar of it."""

from __future__ import annotations

from collections.abc import Callable

Told = Callable[[int, int], object]
"""Called every now and then with how much is done, and of how much."""


def untold(done: int, total: int) -> None:
    """Nobody waits."""
