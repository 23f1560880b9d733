"""What the screen shows at one moment: frozen values, equal when the same frames were folded."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lsmon.protocol.frames import Alert, Curvature, Heartbeat, Layers, Mark, RunEnded, RunStarted

from .buckets import Buckets


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One quantity over the run, as columns of native float64 (counts and attempts: int64), one item a bucket."""

    name: str
    buckets: Buckets = Buckets()  # noqa: RUF009  what nobody appends to is empty for ever
    value: float = math.nan
    """The last sample, NaN when that was one."""
    step: int = 0
    error: float = math.nan
    """Standard error or residual of ``value``; NaN when none came with it."""
    words: str = ""
    odd: int = 0
    """Samples that were NaN or infinite so far."""
    odd_step: int = 0
    """Where the last stretch of them began."""

    @property
    def firsts(self) -> bytes:
        """First step of the bucket."""
        return self.buckets.real(0).tobytes()

    @property
    def steps(self) -> bytes:
        """Last step of the bucket."""
        return self.buckets.real(1).tobytes()

    @property
    def walls(self) -> bytes:
        return self.buckets.real(2).tobytes()

    @property
    def lows(self) -> bytes:
        """Infinite where the bucket holds no finite sample; so are ``highs``."""
        return self.buckets.real(3).tobytes()

    @property
    def highs(self) -> bytes:
        return self.buckets.real(4).tobytes()

    @property
    def totals(self) -> bytes:
        """Sum of the finite samples."""
        return self.buckets.real(5).tobytes()

    @property
    def errors(self) -> bytes:
        """The largest error that came with a sample of the bucket, below 0 where none did. Empty: none ever did."""
        return self.buckets.real(6).tobytes() if self.buckets.doubted else b""

    @property
    def counts(self) -> bytes:
        """Finite samples."""
        return self.buckets.whole(0).tobytes()

    @property
    def attempts(self) -> bytes:
        """Which attempt the bucket is of. Empty: all are of one."""
        attempts = self.buckets.whole(1)
        return attempts.tobytes() if attempts and attempts[0] != attempts[-1] else b""

    def moved(self, firsts: bytes, steps: bytes, begin: int = 0) -> Track:
        """With these in place of the steps, and without the first ``begin`` buckets."""
        return replace(self, buckets=self.buckets.moved(firsts, steps, begin))

    def __eq__(self, other: object) -> bool:
        """Bit for bit: a NaN equals itself here, as it must when a replay is compared with the live screen."""
        if self is other:
            return True
        return (
            isinstance(other, Track) and self._said() == other._said() and self._columns() == other._columns()
        )

    def __hash__(self) -> int:
        return hash((self.name, self.step, len(self)))

    def _said(self) -> tuple[object, ...]:
        """What tells two apart without their columns, nearly always."""
        return (
            self.name, self.step, repr(self.value), repr(self.error), self.words, self.odd, self.odd_step, len(self),
        )  # fmt: skip

    def _columns(self) -> tuple[bytes, ...]:
        return (
            self.firsts, self.steps, self.walls, self.lows, self.highs, self.totals, self.counts, self.errors,
            self.attempts,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.buckets)


def read(track: Track, step: int) -> Track:
    """The track with the mean of its bucket at this step as its value; of the last one before it where it has no sample
    there, and NaN where nothing had come yet."""
    firsts, counts = array("d", track.firsts), array("q", track.counts)
    # From the end: after a resume the latest attempt is what is read.
    at = next((at for at in range(len(firsts) - 1, -1, -1) if firsts[at] <= step), None)
    if at is None:
        return replace(track, value=math.nan, error=math.nan, words="", step=step, odd=0)
    value = array("d", track.totals)[at] / counts[at] if counts[at] else math.nan
    error = array("d", track.errors)[at] if track.errors else -1.0
    error = error if error >= 0 else math.nan
    return replace(
        track, value=value, error=error, words="", step=min(int(array("d", track.steps)[at]), step), odd=0
    )


@dataclass(frozen=True, slots=True)
class View:
    """Everything that has been folded so far; ``EMPTY`` before the first frame."""

    header: RunStarted = field(default_factory=RunStarted)
    seq: int = 0
    step: int = 0
    first_step: int = 0
    attempt: int = 1
    started: float = 0.0
    """Wall time of the first frame."""
    wall: float = 0.0
    """Wall time of the last frame."""
    rate: float = 0.0
    """Training steps a second."""
    lost: int = 0
    """Numbered frames that are missing between those that came."""
    lost_step: int = 0
    dropped: int = 0
    """Frames that the probe itself had to drop."""
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    curvature: Curvature = field(default_factory=Curvature)
    series: Mapping[str, Track] = field(default_factory=dict)
    refused: int = 0
    """Names beyond the number of series that are kept."""
    alerts: tuple[Alert, ...] = ()
    marks: tuple[Mark, ...] = ()
    ended: bool = False
    end: RunEnded = field(default_factory=RunEnded)
    spectrum: Curvature = field(default_factory=Curvature)
    """The last measurement that has a density."""
    layers: Layers = field(default_factory=Layers)
    """The scale by layer, ..."""
    layer_sharpness: Layers = field(default_factory=Layers)
    """... and the sharpness, which comes in frames of its own."""
    spectra: tuple[Curvature, ...] = ()
    """Measurements with a density or a log-volume over the run, evenly thinned; ..."""
    layer_past: tuple[Layers, ...] = ()
    """... and those by layer, scale and sharpness each."""


EMPTY = View()
