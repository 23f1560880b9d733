"""A link of so many bytes a second in simulated time, with a relay's outflow at one end and a viewer at the other."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lsmon.protocol.codec import decode, shorten
from lsmon.protocol.frames import AnyFrame, Scalars
from lsmon.protocol.wire.order import Order
from lsmon.protocol.wire.outflow import Outflow
from lsmon.protocol.wire.records import MAGIC, VERSION, RelayReader, State

SLOW = 64_000
"""Bytes a second: a phone at the edge of its network."""


def frames_of(seqs: range) -> list[AnyFrame]:
    dice = random.Random(seqs.start)
    return [
        Scalars(seq=seq, step=seq, wall=1.9e9 + seq / 5000, values={
            "loss": shorten(2 * math.exp(-seq / 3e4) + dice.gauss(0, 0.02)), "lr": 1e-3,
            "grad/norm": shorten(dice.lognormvariate(0, 0.2)), "update/ratio": shorten(dice.lognormvariate(-7, 0.1)),
        })
        for seq in seqs
    ]  # fmt: skip


@dataclass
class Link:
    """Carries ``rate`` bytes a second after ``delay`` seconds, to a viewer that looks ten times a second."""

    rate: float
    delay: float
    outflow: Outflow = field(default_factory=Outflow)
    now: float = 0.0
    frames: list[AnyFrame] = field(default_factory=list)
    """Those that have come out and are new."""
    lag: list[tuple[float, int]] = field(default_factory=list)
    """When the viewer looked, and the number that it had reached."""
    asleep: Callable[[float], bool] = lambda now: False
    bytes: int = 0

    def run(self, secs: float, made: Callable[[float], list[AnyFrame]]) -> None:
        """In steps of a hundredth of a second."""
        reader, order = RelayReader(), Order()
        list(reader.feed(MAGIC + VERSION))
        under_way: deque[tuple[float, bytes]] = deque()
        back: deque[tuple[float, int]] = deque()
        free_at, look_at, taken = 0.0, 0.0, 0
        while self.now < secs:
            self.outflow.backlog.add(made(self.now))
            while back and back[0][0] <= self.now:
                self.outflow.pace.arrived(back.popleft()[1], self.now)
            while record := self.outflow.next(State("r", "live"), self.now):
                free_at = max(free_at, self.now) + len(record) / self.rate
                under_way.append((free_at + self.delay / 2, record))
                self.bytes += len(record)
            if self.now >= look_at and not self.asleep(self.now):
                look_at = self.now + 0.1
                while under_way and under_way[0][0] <= self.now:
                    for found in reader.feed(under_way.popleft()[1]):
                        taken += 1
                        came = (frame for line in found.lines if (frame := decode(line)) is not None)
                        self.frames += [new for frame in came if (new := order.admit(frame)) is not None]
                back.append((self.now + self.delay / 2, taken))
                taken = 0
                self.lag.append((self.now, order.last))
                assert order.lost == 0
            self.now = round(self.now + 0.01, 9)

    @property
    def raw(self) -> list[int]:
        return [frame.seq for frame in self.frames if isinstance(frame, Scalars)]


def training(rate: int, history: int = 0) -> Callable[[float], list[AnyFrame]]:
    """So many frames a second, after a history of so many."""
    made = [1]

    def until(now: float) -> list[AnyFrame]:
        start, made[0] = made[0], 1 + history + round(now * rate)
        return frames_of(range(start, made[0]))

    return until
