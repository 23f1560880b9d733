"""Which runs the detectors were not tuned on. Fixed before any threshold was looked at, and not to be changed.

Held out is the third run of every three of a family, by its number, and the whole family ``retrieval``, so that one
kind of landscape was never seen. Of the families in ``FRESH`` all runs are: they were made when that part had been
looked at, and were looked at once, when all thresholds were final. Thresholds are chosen on the others alone.
"""

from __future__ import annotations

from typing import Literal

Part = Literal["tuning", "held out", "fresh"]

FRESH = frozenset({
    "chain", "tied", "symmetric", "phase", "completion", "student", "nested", "attention",
    "difference", "product", "group", "hopeless", "bits",
    "waves", "squeeze", "shapes", "recurrent", "softmax", "everyday",
    "jolt", "overflow", "runaway", "frozen", "stretched", "heart", "hover", "unlearned",
})  # fmt: skip


def part(name: str) -> Part:
    """Which part a run belongs to.

    >>> part("linear2-5"), part("linear2-4"), part("retrieval-0"), part("tied-0")
    ('held out', 'tuning', 'held out', 'fresh')
    """
    family, _, number = name.rpartition("-")
    if family in FRESH:
        return "fresh"
    return "held out" if family == "retrieval" or int(number) % 3 == 2 else "tuning"
