"""On how many examples a curvature was measured: said before anything else, and in as few cells as there are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lsmon.protocol.frames import Curvature

_PART = re.compile(r"(\d+) of (\d+) examples(?:: λ_max at most (\d+) ?% too high)?")
_LEADING = re.compile(rf"(?:{_PART.pattern}|\d+ examples?)[^;]*; ")
_FORMS = (r"\1 of \2 examples, ≤ \3% too high", r"\1 of \2 examples, ≤ \3% high", r"\1 of \2, ≤ \3% high")
"""In fewer and fewer cells."""

SOLVERS = "± by the solver"
"""What the ± of an eigenvalue is, and is not: other examples would move it by more."""


def with_examples(frame: Curvature) -> list[str]:
    """The notes of a measurement, what they say of its examples first; their number where they say nothing of it."""
    said = [note for note in frame.notes if _PART.match(note)]
    if not said and frame.batch:
        said = [f"{frame.batch} example{'' if frame.batch == 1 else 's'}"]
    return [*said, *(note for note in frame.notes if note not in said)]


def leading(words: str) -> str:
    """What ``words`` say first of the examples, with the sign behind it; empty where they say nothing of them."""
    found = _LEADING.match(words)
    return found[0] if found else ""


def in_cells(words: str, room: int) -> str:
    """The fullest form in which the number of examples, how much too high the sharpness is and whose the ± is have room.

    >>> in_cells("11 of 512 examples: λ_max at most 30% too high", 66)
    '± by the solver; 11 of 512 examples: λ_max at most 30% too high'
    >>> in_cells("11 of 512 examples: λ_max at most 30% too high", 30)
    '11 of 512 examples, ≤ 30% high'
    """
    found = _PART.search(words)
    if found is None:
        return words
    if len(SOLVERS) + 2 + len(words) <= room:
        return f"{words[: found.start()]}{SOLVERS}; {words[found.start() :]}"
    if found[3] is None or found.end() <= room:
        return words
    forms: Sequence[str] = [found.expand(form) for form in _FORMS]
    form = next((form for form in forms if found.start() + len(form) <= room), forms[-1])
    return f"{words[: found.start()]}{form}{words[found.end() :]}"
