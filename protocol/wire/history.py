"""What a run remembers for those who join late, in bounded memory: the newest frames as they were, older ones folded."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice, takewhile
from operator import attrgetter
from typing import NamedTuple

from ..codec import decode, encode
from ..fold import LEVELS, Fold
from ..frames import UNNUMBERED, Alert, AnyFrame, Curvature, Layers, Mark, RunStarted, Summary, state
from ..thinned import Thinned

RAW_FRAMES = 20_000
RAW_BYTES = 1 << 21
FINE_BYTES = 3 << 18
COARSE_BYTES = 1 << 19
EVENT_BYTES = 1 << 18
DENSITY_BYTES = 1 << 18
LAYERS_BYTES = 1 << 17  # the scale, and the sharpness
"""Together 4 MiB, what a training is asked to lend its viewers. At 100 steps a second and 150 bytes a frame the raw
frames reach back 65 seconds, the fine summaries (of five series) 20 minutes, the coarse ones for ever, and so does the
past of what is drawn over time, in some 50 densities."""
ROW_BYTES = 160
"""What Python itself takes for a row: tuple, number and the head of the bytes."""
PAGE_BYTES = 1 << 17
"""A reply: its copies, of which a peer that does not read holds several, are small; history comes in some thirty."""


class Row(NamedTuple):
    """One frame, or a Summary of several, as it is sent."""

    first: int
    seq: int
    data: bytes


class Page(NamedTuple):
    """A reply: lines in the order of their numbers, the number reached, whether there is more, and what is missing."""

    lines: list[bytes]
    upto: int
    more: bool
    lost: int


class Tier:
    """Rows of one resolution, the oldest leaving first, and only when the next tier holds a row in their place."""

    def __init__(self, max_bytes: int, max_rows: int = RAW_FRAMES) -> None:
        self.rows: deque[Row] = deque()
        self.left = 0
        """Number of the last frame that has left."""
        self.held = 0
        """Bytes of memory."""
        self._max_bytes = max_bytes
        self._max_rows = max_rows

    def append(self, row: Row) -> None:
        self.rows.append(row)
        self.held += len(row.data) + ROW_BYTES

    @property
    def full(self) -> bool:
        return self.held > self._max_bytes or len(self.rows) > self._max_rows

    def drop(self, upto: int) -> None:
        while self.rows and self.rows[0].seq <= upto:
            row = self.rows.popleft()
            self.left = row.seq
            self.held -= len(row.data) + ROW_BYTES

    def trim(self, coarser: Tier) -> None:
        """Let whole stretches go, each as long as the row that stands for it. Without one it goes all the same."""
        while self.full and self.rows:
            oldest = self.rows[0].seq
            at = bisect_left(coarser.rows, oldest, key=_seq)
            covered = at < len(coarser.rows) and coarser.rows[at].first <= oldest
            self.drop(coarser.rows[at].seq if covered else oldest)

    def clear(self) -> None:
        self.rows.clear()
        self.held = 0


_seq = attrgetter("seq")

_OVER_TIME = {
    (Curvature, "density"): DENSITY_BYTES,
    (Layers, "scale"): LAYERS_BYTES,
    (Layers, "sharpness"): LAYERS_BYTES,
}
"""Slots that are drawn as heat maps, and what their past may take."""


def _weight(row: Row) -> int:
    return len(row.data) + ROW_BYTES


class History:
    """Takes every frame of the run, gives pages of what came after a number."""

    def __init__(self, header: RunStarted) -> None:
        self._header = Row(header.seq, header.seq, encode(header))
        self._raw = Tier(RAW_BYTES)
        self._fine = Tier(FINE_BYTES)
        self._coarse = Tier(COARSE_BYTES)
        self._coarsest = LEVELS[-1]
        self._events: deque[Row] = deque()
        self._event_bytes = 0
        self._states: dict[tuple[type, str], Row] = {}
        """The last frame of each kind that has more to say than the numbers that are folded from it, ..."""
        self._past = {slot: Thinned(room, _weight) for slot, room in _OVER_TIME.items()}
        """... and a thinned past of those that are drawn over time."""

    @property
    def held(self) -> int:
        """Bytes of memory."""
        states = sum(map(_weight, self._states.values())) + sum(past.weight for past in self._past.values())
        return self._raw.held + self._fine.held + self._coarse.held + self._event_bytes + states

    def add(self, frame: AnyFrame, data: bytes) -> None:
        if isinstance(frame, Summary):
            if frame.level == LEVELS[0]:
                self._add_summary(frame, data, self._fine, self._raw)
            else:
                self._add_summary(frame, data, self._coarse, self._fine)
        elif not isinstance(frame, UNNUMBERED):
            row = Row(frame.seq, frame.seq, data)
            self._raw.append(row)
            slot = state(frame)
            if slot is not None:
                self._states[slot] = row
                if slot in self._past:
                    self._past[slot].append(row)
            elif isinstance(frame, Alert | Mark):
                self._events.append(row)
                self._event_bytes += len(data) + ROW_BYTES
                while self._event_bytes > EVENT_BYTES:
                    self._event_bytes -= len(self._events.popleft().data) + ROW_BYTES
        self._raw.trim(self._fine)
        self._fine.trim(self._coarse)
        if self._coarse.full:
            self._thin()

    def page(self, after: int, max_bytes: int = PAGE_BYTES) -> Page:
        """What follows frame ``after``; with 0 the header and the whole run. At least one row, whatever its size."""
        lines: list[bytes] = []
        size = lost = 0
        upto = after
        for row, folded in self._rows(after):
            part = [row.data]
            if folded:  # what happened in a stretch stays with it, and the last state if it is from there
                part += [beside.data for beside in self._beside(max(row.first, after + 1), row.seq)]
            size += sum(map(len, part))
            if lines and size > max_bytes:
                return Page(lines, upto, True, lost)
            lines += part
            lost += max(0, row.first - upto - 1)
            upto = row.seq
        return Page(lines, upto, False, lost)

    def _add_summary(self, frame: Summary, data: bytes, tier: Tier, finer: Tier) -> None:
        tier.append(Row(frame.first_seq, frame.seq, data))
        if frame.first_seq <= finer.left <= frame.seq:
            finer.drop(frame.seq)  # part of the stretch had to go before it was folded: now all of it is

    def _rows(self, after: int) -> Iterator[tuple[Row, bool]]:
        if after < self._header.seq:
            yield self._header, False
        for tier, end in ((self._coarse, self._fine.left), (self._fine, self._raw.left), (self._raw, None)):
            for row in islice(tier.rows, bisect_right(tier.rows, after, key=_seq), None):
                if end is not None and row.seq > end:
                    break
                yield row, end is not None

    def _beside(self, first: int, last: int) -> list[Row]:
        events = islice(self._events, bisect_right(self._events, first - 1, key=_seq), None)
        rows = [*takewhile(lambda row: row.seq <= last, events)]
        states = chain(self._states.values(), *(past.items() for past in self._past.values()))
        rows += {row.seq: row for row in states if first <= row.seq <= last}.values()
        return sorted(rows, key=_seq)

    def _thin(self) -> None:
        """Fold neighbours of the coarsest tier into one: half the resolution, for as long again."""
        self._coarsest = min(self._coarsest * 2, 1 << 62)  # attempts, which stay apart, may be what fills it
        fold = Fold(self._coarsest)
        rows = list(self._coarse.rows)
        self._coarse.clear()
        for row in rows:
            frame = decode(row.data)
            assert isinstance(frame, Summary)
            folded = fold.add(frame)
            if folded is not None:
                self._coarse.append(Row(folded.first_seq, folded.seq, encode(folded)))
        if (rest := fold.close()) is not None:
            self._coarse.append(Row(rest.first_seq, rest.seq, encode(rest)))
        while self._coarse.full:  # attempts are never folded together; so many of them cost the oldest
            self._coarse.drop(self._coarse.rows[0].seq)
