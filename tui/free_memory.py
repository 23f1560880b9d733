"""Memory that is free, given back to the system."""

from __future__ import annotations

from functools import cache
from typing import Protocol


class _Trim(Protocol):
    def __call__(self, pad: int, /) -> int: ...


def give_back() -> None:
    """A view is made and dropped ten times a second, and between what stays glibc keeps the holes: after hours a tenth of
    all memory (malloc_trim(3)). A millisecond or two; nothing where there is no glibc."""
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
