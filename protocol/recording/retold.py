"""What the overview of a recording does not tell, told anew from the frames: once, and kept as small as in the file."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Protocol

import zstandard

from ..codec import encode
from ..fold import LEVELS, folded
from ..frames import AnyFrame, Summary
from .overview import Overview, Rows, slot
from .segment import Item
from .topics import EVENTS, STATES

_TOGETHER = LEVELS[1] // LEVELS[0]
"""Rows that are kept as one: those of a coarse row, 20 kB before they are compressed."""


class Frames(Protocol):
    """The frames of a recording within ``(after, until]``."""

    @property
    def last_seq(self) -> int: ...

    def numbered(self, after_seq: int, until_seq: float) -> Iterator[AnyFrame]:
        """Those that have a number of their own."""
        ...

    def among(self, channels: Container[int], after_seq: int, until_seq: float) -> Iterator[Item]:
        """Those of these channels, not decoded."""
        ...


def retell(overview: Overview, frames: Frames) -> None:
    """Adds what is missing: fine rows and events from the frames, then coarse rows and the states beside them."""
    _retell_fine(overview, frames)
    standing, overview.coarse = overview.coarse, []
    known = 0
    for row in standing:
        if known < row.first_seq <= row.seq:
            if known + 1 < row.first_seq:
                _retell_coarse(overview, frames, known, row.first_seq - 1)
            overview.coarse.append(row)
            known = row.seq
    if known < frames.last_seq:
        _retell_coarse(overview, frames, known, math.inf)
    overview.sort()


def _retell_fine(overview: Overview, frames: Frames) -> None:
    lasts = [rows.last_seq for rows in overview.rows]
    gaps = list(overview.gaps)
    if not gaps or gaps[-1][1] < math.inf:  # the frames since the last row may not have been folded
        gaps.append((lasts[-1] if lasts else 0, math.inf))
    told: list[Rows] = []
    done = 0.0
    for after, until in gaps:
        if after >= frames.last_seq:
            continue
        for item in frames.among(EVENTS, after, until):
            overview.add_event(item.data)
        at = bisect_right(lasts, after)
        known = lasts[at - 1] if at else 0
        behind = next(overview.fine(known, math.inf), None)
        last = behind.first_seq - 1 if behind is not None else math.inf
        if done <= known < last:
            told += _kept(folded(frames.numbered(known, last), LEVELS[0]), known)
            done = last
    overview.rows = sorted([*overview.rows, *told], key=itemgetter(0))


def _kept(rows: Iterable[Summary], known: int) -> Iterator[Rows]:
    """The same, encoded."""
    ascending = _ascending(rows, known)
    while some := list(islice(ascending, _TOGETHER)):
        together = zstandard.compress(b"\n".join(map(encode, some)))
        yield Rows(some[0].seq, some[-1].seq, partial(_lines, together))


def _ascending(rows: Iterable[Summary], known: int) -> Iterator[Summary]:
    """Those that come one after another, as all do but where a file makes no sense."""
    for row in rows:
        if known < row.first_seq <= row.seq:
            known = row.seq
            yield row


def _lines(together: bytes) -> list[bytes]:
    return zstandard.decompress(together).split(b"\n")


def _retell_coarse(overview: Overview, frames: Frames, after: int, until: float) -> None:
    """As the recorder does: every coarse row, and beside it the last of each state that has come since the one before."""
    rows = list(folded(overview.fine(after, until), LEVELS[1]))
    ends = [row.seq for row in rows]
    last: dict[tuple[int, str], tuple[int, bytes]] = {}
    for item in frames.among(STATES, after, until):
        at, data = bisect_left(ends, item.seq), bytes(item.data)
        if at < len(ends):
            last[at, slot(item.channel, data)] = item.seq, data
    for (_, kind), (seq, data) in last.items():
        overview.add_state(kind, seq, data)
    overview.coarse += rows
