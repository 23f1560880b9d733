"""Which names a function's code reads and which it binds anew, those of the functions inside it among them."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType


@lru_cache(maxsize=4096)
def used(code: CodeType) -> frozenset[str]:
    """Names of globals and attributes."""
    return frozenset(name for part in _parts(code) for name in part.co_names)


@lru_cache(maxsize=4096)
def stored(code: CodeType) -> frozenset[str]:
    """Names of attributes, globals and variables of a function around it that are bound, as by ``state.calls += 1``."""
    return frozenset(
        instruction.argval
        for part in _parts(code)
        if part.co_names or part.co_freevars
        for instruction in dis.get_instructions(part)
        if instruction.opname in ("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF")
    )


def _parts(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _parts(const)
