"""The overview files: the story of a recording without reading the recording."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ..codec import decode
from ..errors import BadFrame, BadRecording
from ..frames import Alert, AnyFrame, Mark, Summary
from ..thinned import Thinned
from .chunks import BadChunk, Chunks, full
from .topics import COARSE, CURVATURE, EVENTS, FINE, LAYERS, RUN_STARTED, STATES

_MOST_PAST = 128
"""Columns of a heat map that come of what lies far back: fewer than are kept of them where they are shown."""


class Rows(NamedTuple):
    """Fine rows that lie together, by the numbers that the first and the last of them end with."""

    first_seq: int
    last_seq: int
    encoded: Callable[[], Iterable[bytes | memoryview]]


class Overview:
    """One pass over the overview files. Only the coarse rows and the events stay in memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.events: list[Alert | Mark] = []
        self.coarse: list[Summary] = []
        self.gaps: list[tuple[int, float]] = []
        """Stretches ``(after, until]`` of numbers of which this overview does not know everything."""
        self.rows: list[Rows] = []
        self._states: dict[str, list[tuple[int, bytes]]] = {}
        """What stands beside the coarse rows, by slot."""
        self._known_past: dict[int, AnyFrame] = {}
        self._files: list[Chunks] = []
        self._known = 0
        complete, whole = True, False
        for path in paths:
            try:
                chunks = Chunks(path)
            except BadRecording:
                complete = False
                continue
            self._files.append(chunks)
            for number in range(len(chunks)):
                complete = self._read(chunks, number, complete and number not in chunks.breaks)
            whole = complete and chunks.whole
            complete = False  # a second file begins after trouble
        if not whole:
            self.gaps.append((self._known, math.inf))

    @property
    def last_seq(self) -> int:
        """Number of the last frame that it tells of."""
        return self._known

    def close(self) -> None:
        for chunks in self._files:
            chunks.close()

    def fine(self, after_seq: int, until_seq: float) -> Iterator[Summary]:
        """The rows of the finest level that lie within ``(after_seq, until_seq]``."""
        for rows in self.rows:
            if rows.last_seq <= after_seq:
                continue
            if rows.first_seq > until_seq:
                return
            for data in rows.encoded():
                frame = _decoded(data)
                if isinstance(frame, Summary) and after_seq < frame.first_seq and frame.seq <= until_seq:
                    yield frame

    def states(self, until_seq: int) -> list[AnyFrame]:
        """The last Curvature, Layers and Heartbeat up to this number."""
        last: list[AnyFrame] = []
        for kept in self._states.values():
            at = bisect_right(kept, until_seq, key=itemgetter(0))
            frame = _decoded(kept[at - 1][1]) if at else None
            if frame is not None:
                last.append(frame)
        return sorted(last, key=lambda frame: frame.seq)

    def past(self, until_seq: int) -> list[AnyFrame]:
        """Densities and Layers up to this number, each kind evenly thinned over the run."""
        known: dict[int, AnyFrame] = {}
        for slot in _OVER_TIME & self._states.keys():
            thinned = Thinned[tuple[int, bytes]](_MOST_PAST)
            for item in self._states[slot]:
                if item[0] > until_seq:
                    break
                thinned.append(item)
            for seq, data in thinned.items():
                frame = self._known_past.get(seq) or _decoded(data)
                if frame is not None:
                    known[seq] = frame
        self._known_past = known  # of two seeks the second needs mostly the same
        return [known[seq] for seq in sorted(known)]

    def add_event(self, data: memoryview) -> None:
        frame = _decoded(data)
        if isinstance(frame, Alert | Mark):
            self.events.append(frame)

    def add_state(self, kind: str, seq: int, data: bytes) -> None:
        """Of what stands beside a coarse row; ``kind`` is its slot."""
        self._states.setdefault(kind, []).append((seq, data))

    def sort(self) -> None:
        """To be called when something has been added."""
        self.events = sorted(
            {event.seq: event for event in self.events}.values(), key=lambda event: event.seq
        )
        for kept in self._states.values():
            kept.sort(key=itemgetter(0))

    def _read(self, chunks: Chunks, number: int, complete: bool) -> bool:
        """Takes in one chunk. ``complete`` says whether everything before it was read; returns it for the next."""
        try:
            data, found = chunks.spans(number)
            spans = list(found)
        except BadChunk:
            return False
        fine: list[int] = []
        for channel, sequence, start, end in spans:
            if channel == FINE and complete:  # as nearly all are
                fine.append(sequence)
                continue
            seq = full(sequence, self._known)
            if not complete and channel != RUN_STARTED and seq > self._known:
                self.gaps.append((self._known, seq))
                complete = True
            self._known = max(self._known, seq)
            if channel == FINE:
                fine.append(sequence)
            elif channel in STATES:
                state = bytes(data[start:end])
                self.add_state(slot(channel, state), seq, state)
            elif channel in EVENTS:
                self.add_event(data[start:end])
            elif channel == COARSE:
                frame = _decoded(data[start:end])
                if isinstance(frame, Summary):
                    self.coarse.append(frame)
        if fine:
            rows = Rows(
                full(fine[0], self._known), full(fine[-1], self._known), partial(_fine_in, chunks, number)
            )
            self.rows.append(rows)
            self._known = max(self._known, rows.last_seq)
        return complete


def _fine_in(chunks: Chunks, number: int) -> Iterator[memoryview]:
    try:
        data, spans = chunks.spans(number)
        for channel, _, start, end in spans:
            if channel == FINE:
                yield data[start:end]
    except BadChunk:  # no longer what it was
        return


def slot(channel: int, data: bytes) -> str:
    """As ``frames.state``, told without decoding: there are thousands, of which a hundred are looked at."""
    if channel == CURVATURE:
        return "density" if b'"density_grid":' in data else "ends" if b'"bottom":' in data else "top"
    if channel == LAYERS:
        return "sharpness by layer" if b'"hessian/max":' in data else "scale by layer"
    return "heartbeat"


_OVER_TIME = {"density", "scale by layer", "sharpness by layer"}
"""Slots that are drawn as heat maps."""


def _decoded(data: memoryview | bytes) -> AnyFrame | None:
    try:
        return decode(data)
    except BadFrame:
        return None
