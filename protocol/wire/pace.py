"""What a link carries, learned from when the other end says that it has taken something in.

Between a relay and its viewer lie buffers of megabytes (ssh's window, TCP's): what goes into them on a slow link is a
minute old when it comes out. So no more is under way than the link carries in a moment, as in BBR (Cardwell et al.,
"BBR: Congestion-Based Congestion Control", ACM Queue 14(5), 2016), with records for packets.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

START_BYTES = 1 << 15
"""May be under way before anything is known: half a second of 64 KB/s."""
LEAST_BYTES = 1 << 14
"""May always be: below it a link is not told from a viewer that looks ten times a second."""
MOMENT_SECS = 0.25
"""Of what the link carries, beyond the time of a round trip: the viewer's own turn, and a little to grow by."""
PROBING = 1.5
"""More than it is known to carry, or that it carries more would never be seen; BBR has 2, and twice the delay."""
GROWTH = 1.25
"""Rounds that carried less than this times the ones before show what the link can do, as in BBR."""
ROUNDS = 4
"""Rounds that are remembered; so long a link that got slower is taken for what it was."""


class _Sent(NamedTuple):
    upto: int
    """Bytes sent, this record among them."""
    at: float
    arrived: int
    """Bytes that had been taken in then."""
    full: bool
    """Whether there was more to send than there was room for: only then the link's limit shows."""


class Pace:
    """Counts records out and in; says how much room there is, and how fast they go once that is known."""

    def __init__(self) -> None:
        self._under_way: deque[_Sent] = deque()
        self._sent = 0
        self._arrived = 0
        self._quickest = float("inf")
        self._rounds: deque[float] = deque(maxlen=ROUNDS)
        """Bytes a second of the last round trips that were full."""
        self._round_ends = 0
        self._best = 0.0
        self._full = False

    @property
    def room(self) -> int:
        """Bytes that may be sent now; a record is sent whole when there is any."""
        window = START_BYTES
        if self._rounds:
            window = max(LEAST_BYTES, round(PROBING * max(self._rounds) * (self._quickest + MOMENT_SECS)))
        return max(0, window - (self._sent - self._arrived))

    @property
    def rate(self) -> float | None:
        """Bytes a second that the link carries; None as long as more went through each time that more was sent."""
        if len(self._rounds) < 3:
            return None
        *before, second, last = self._rounds  # two: what one round allows is seen in the next but one
        return None if max(second, last) > GROWTH * max(before) else max(self._rounds)

    @property
    def waiting_since(self) -> float | None:
        """When the oldest record was sent that has not been taken in."""
        return self._under_way[0].at if self._under_way else None

    def sent(self, size: int, now: float, *, full: bool) -> None:
        self._sent += size
        self._under_way.append(_Sent(self._sent, now, self._arrived, full))

    def arrived(self, records: int, now: float) -> None:
        """The other end has taken in so many more records. More than were sent is nonsense, and ignored."""
        for _ in range(min(records, len(self._under_way))):
            record = self._under_way.popleft()
            self._arrived = record.upto
            took = max(now - record.at, 1e-3)
            self._quickest = min(self._quickest, took)
            rate = (record.upto - record.arrived) / took
            self._best, self._full = max(self._best, rate), self._full or record.full
            if record.arrived >= self._round_ends:
                self._round_ends = self._sent
                if self._full or (self._rounds and self._best > max(self._rounds)):
                    self._rounds.append(self._best)
                self._best, self._full = 0.0, False
