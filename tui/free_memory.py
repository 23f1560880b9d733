"""Memory: what need not be looked through for what can be freed, and what is free given back to the system."""

from __future__ import annotations

import gc
from functools import cache
from typing import Protocol


class _Trim(Protocol):
    def __call__(self, pad: int, /) -> int: ...


def settle() -> None:
    """What is there by now stays. And thousands of frames come and go a second, or in a seek, none of which refers to
    itself: Python would look for such after every 700."""
    gc.freeze()
    gc.set_threshold(10_000)


def give_back() -> None:
    """A page that was left refers to itself, and Python looks for such things when there are a quarter more of them: they
    are freed here. And a view is made and dropped ten times a second, between which glibc keeps the holes:
    after hours a tenth of all memory (malloc_trim(3)). A few milliseconds together; no holes where there is no glibc."""
    gc.collect()
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> _Trim | None:
    import ctypes

    try:
        found: _Trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found
