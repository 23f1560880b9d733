"""Whether a value is of the step that is shown beside it, or of which other one."""

from __future__ import annotations

from array import array

from lsmon.protocol.names import GIVEN, quantity

from .view import Track

NEAR = 0.01
"""Of the steps so far: what is measured as the budget allows is hardly ever of this very step."""


def at_step(step: int) -> str:
    """In so few cells that it fits beside a value.

    >>> at_step(41200)
    '@41200'
    """
    return f"@{step}"


def measured_at(track: Track, step: int, first: int = 0) -> str:
    """``@727`` where the last value of a measured quantity is of another step than this one of a run that began at
    ``first``; empty where it is of this one or near it, and for what the training itself logs."""
    if quantity(track.name).source == GIVEN or abs(step - track.step) <= NEAR * max(step - first, 1):
        return ""
    return at_step(track.step)


def not_yet(track: Track, step: int | None) -> bool:
    """Whether nothing of it had come at the step that is read; None reads the newest."""
    return step is not None and not any(first <= step for first in array("d", track.firsts))
