"""Frames that wait for a link, and are folded when it cannot carry them all: what happened stays, and every extreme."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..codec import encode
from ..fold import Fold
from ..frames import Alert, AnyFrame, Heartbeat, Mark, RunEnded, RunStarted, Summary, state

HELD_BYTES = 4 << 20
"""Of lines. A viewer that sleeps for an hour finds them folded, and this much of them."""
FINEST = 4
"""Frames a Summary at first: one has three times the bytes of a frame."""
COARSEST = 1 << 24
"""Beyond it nothing is gained: a run's every frame would be one."""


class Backlog:
    """Takes frames in order, gives lines in order. A number that is taken is in a line that is given."""

    def __init__(self) -> None:
        self._rows: deque[tuple[AnyFrame, bytes]] = deque()
        self.size = 0
        """Bytes of lines."""

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, frames: Iterable[AnyFrame]) -> None:
        for frame in frames:
            line = encode(frame)
            self._rows.append((frame, line))
            self.size += len(line) + 1
        if self.size > HELD_BYTES:
            self.thin(HELD_BYTES // 2)

    def take(self, max_bytes: int) -> list[bytes]:
        """Lines from the front; one at least, when there is any."""
        lines: list[bytes] = []
        size = 0
        while self._rows and (not lines or size + len(self._rows[0][1]) < max_bytes):
            line = self._rows.popleft()[1]
            lines.append(line)
            size += len(line) + 1
        self.size -= size
        return lines

    def thin(self, max_bytes: int) -> None:
        """Fold as finely as makes it fit. Alerts and marks stay, and may be more than that by themselves."""
        level = FINEST
        while self.size > max_bytes and level <= COARSEST:
            rows = [(frame, encode(frame)) for frame in folded([frame for frame, _ in self._rows], level)]
            self._rows = deque(rows)
            self.size = sum(len(line) + 1 for _, line in rows)
            level *= 2 if self.size < 2 * max_bytes else 4


def folded(frames: list[AnyFrame], level: int) -> list[AnyFrame]:
    """The same stretch of a run in Summaries of about ``level`` frames, each followed by the alerts and marks in it,
    and by the last state of what is no number. What is as coarse already stays as it is; the header and the end too.
    """
    last = {slot: n for n, frame in enumerate(frames) if (slot := state(frame)) is not None}
    kept = set(last.values())
    out: list[AnyFrame] = []
    beside: list[AnyFrame] = []
    fold = Fold(level)
    covered = 0
    """Number up to which Summaries have come: what follows one and is in it must not be folded twice."""
    reached = 0

    def put(summary: Summary | None) -> None:
        if summary is None:
            return
        out.append(summary)
        ready = [frame for frame in beside if frame.seq <= summary.seq]
        beside[:] = [frame for frame in beside if frame.seq > summary.seq]
        out.extend(sorted(ready, key=lambda frame: frame.seq))

    for n, frame in enumerate(frames):
        first = frame.first_seq if isinstance(frame, Summary) else frame.seq
        if first > reached + 1:
            put(fold.close())  # a hole stays one, and is counted where it is seen
        reached = max(reached, frame.seq)
        if isinstance(frame, Heartbeat):
            if n in kept:
                put(fold.close())
                out.append(frame)
        elif isinstance(frame, RunStarted | RunEnded):
            put(fold.close())
            out.append(frame)
        elif isinstance(frame, Summary) and frame.level >= level:
            put(fold.close())
            out.append(frame)
            covered = frame.seq
        elif frame.seq > covered:
            if isinstance(frame, Alert | Mark) or n in kept:
                beside.append(frame)
            put(fold.add(frame))
            covered = frame.seq if isinstance(frame, Summary) else covered
        elif isinstance(frame, Alert | Mark) or n in kept:
            (out if fold.empty else beside).append(frame)
    put(fold.close())
    return out
