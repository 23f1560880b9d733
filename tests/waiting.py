"""Waiting for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(done: Callable[[], bool], secs: float = 60.0) -> None:
    """Until it is so; an error when it has not become so by the deadline."""
    deadline = time.monotonic() + secs
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
