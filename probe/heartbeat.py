"""Once a second: that the training lives, how fast it goes, and what the probe has to say of itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lsmon.protocol.clean import clean_line, clean_name
from lsmon.protocol.codec import shorten
from lsmon.protocol.frames import Heartbeat, RunStarted

BEAT_SECS = 1.0
RATE_SECS = 5.0
"""The step rate is that of the last seconds: long enough to be steady, short enough to be news."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What only the probe knows of itself."""

    share: float = 0.0
    recording: str = ""
    notes: dict[str, str] = field(default_factory=dict)


class Heart:
    """Beats when it is asked to; ``due`` says when it wants to be."""

    def __init__(self, header: RunStarted, pulse: Callable[[], Pulse], now: float) -> None:
        self._header, self._pulse = header, pulse
        self._counts: deque[tuple[float, int]] = deque()  # steps done by then
        self.due = now

    def beat(self, now: float, steps: int, seq: int, step: int, attempt: int, dropped: int) -> Heartbeat:
        """``steps`` are done by ``now``; the last frame was ``seq``, of this step and attempt."""
        self.due = now + BEAT_SECS
        self._counts.append((now, steps))
        while len(self._counts) > 2 and now - self._counts[0][0] > RATE_SECS:
            self._counts.popleft()
        (then, before), header, pulse = self._counts[0], self._header, self._pulse()
        return Heartbeat(
            seq=seq,
            step=step,
            wall=round(time.time(), 4),
            rank=header.rank,
            attempt=attempt,
            pid=header.pid,
            boot=header.boot,
            pid_started=header.pid_started,
            dropped=dropped,
            share=shorten(pulse.share),
            rate=shorten((steps - before) / (now - then)) if now > then else 0.0,
            recording=clean_line(pulse.recording),
            notes={clean_name(part): clean_line(words) for part, words in pulse.notes.items()},
        )
