"""Once a second: that the training lives, how fast it goes, and what the probe has to say of itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lsmon.protocol.clean import clean_line, clean_name
from lsmon.protocol.codec import shorten
from lsmon.protocol.frames import Heartbeat, RunStarted

from .loop_rate import LoopRate
from .whereabouts import whereabouts

BEAT_SECS = 1.0


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
        self._loop = LoopRate(now)
        self._thread = threading.get_ident()  # the training's, which makes the probe
        self.due = now

    def beat(
        self, now: float, steps: int, acts: int, seq: int, step: int, attempt: int, dropped: int
    ) -> Heartbeat:
        """``steps`` are done by ``now``, and ``acts`` things have come; the last frame was ``seq``, of this step."""
        self.due = now + BEAT_SECS
        self._loop.look(now, steps, acts)
        header, pulse, idle = self._header, self._pulse(), self._loop.idle
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
            rate=shorten(self._loop.rate),
            recording=clean_line(pulse.recording),
            notes={clean_name(part): clean_line(words) for part, words in pulse.notes.items()},
            idle=round(idle, 1),
            where=clean_line(whereabouts(self._thread), 200) if idle else "",
        )
