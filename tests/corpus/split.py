"""Which runs the detectors were not tuned on. Fixed before any threshold was looked at, and not to be changed.

Held out is the third run of every three of a family, by its number, and the whole family ``retrieval``, so that one
kind of landscape was never seen. Thresholds are chosen on the others alone.
"""

from __future__ import annotations


def held_out(name: str) -> bool:
    """Whether this run is kept out of tuning.

    >>> held_out("linear2-5"), held_out("linear2-4"), held_out("retrieval-0")
    (True, False, True)
    """
    family, _, number = name.rpartition("-")
    return family == "retrieval" or int(number) % 3 == 2
