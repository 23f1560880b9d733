"""What a recording holds, for ``lsmon info``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..fold import LEVELS
from ..frames import Alert
from .ending import written
from .reader import Recording


@dataclass(frozen=True, slots=True)
class About:
    """Every fact about a recording that fits on a page."""

    run: str
    name: str
    host: str
    command: tuple[str, ...]
    started: float
    """Unix time."""
    seconds: float
    """From the header to the last frame."""
    frames: int
    first_step: int
    last_step: int
    attempts: int
    segments: int
    bytes: int
    ended: str
    """"finished", "error: ..." or "": it ended early or is still running, which only the caller can find out."""
    lost: int
    dropped: int
    damage: tuple[str, ...]
    share: float | None
    """Share of the wall time that the probe measured as its own, at the last heartbeat."""
    alerts: dict[str, int]
    """Kind → how many."""
    names: tuple[str, ...] = ()
    """Of the quantities in it, sorted."""

    @classmethod
    def of(cls, recording: Recording) -> About:
        """Reads the recording through once, without decoding it: about a second for a million frames."""
        recording.verify()
        header, ended, heartbeat = recording.header, recording.ended, recording.heartbeat
        rows = list(recording.summaries(LEVELS[1]))
        return cls(
            run=header.run,
            name=header.name,
            host=header.host,
            command=header.command,
            started=header.wall,
            seconds=max(recording.last_wall - header.wall, 0.0),
            frames=recording.frame_count,
            first_step=recording.first_step,
            last_step=max((row.step for row in rows), default=recording.last_step),
            attempts=len({row.attempt for row in rows} | {header.attempt}),
            segments=recording.segments,
            bytes=recording.size,
            ended="" if ended is None else written(ended),
            lost=recording.lost,
            dropped=recording.dropped,
            damage=recording.damage,
            share=heartbeat.share if heartbeat is not None else None,
            alerts=dict(Counter(event.kind for event in recording.events() if isinstance(event, Alert))),
            names=tuple(sorted({name for row in rows for name in row.series})),
        )
