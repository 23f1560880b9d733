"""Whether this thread is in the middle of a measurement, in which the user's functions run once more for us alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_here = threading.local()


def measuring() -> bool:
    return getattr(_here, "depth", 0) > 0


@contextmanager
def unheard() -> Iterator[None]:
    """What is told to a probe meanwhile is of the reference batch, and not of the training."""
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1
