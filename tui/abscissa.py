"""What curves are drawn over: steps, the time of the day, the time since the start, or tokens."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from .axes import nice_above
from .format import duration, short
from .tick_names import tick_names
from .view import Track, View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["step", "elapsed", "clock", "tokens"]
KINDS: tuple[Kind, ...] = ("step", "elapsed", "clock", "tokens")
TITLES: dict[Kind, str] = {
    "step": "steps",
    "elapsed": "time since the start",
    "clock": "time of the day",
    "tokens": "tokens",
}

TOKENS = ("tokens", "train/tokens", "tokens_seen", "num_tokens", "examples", "samples")
"""Names under which trainings log how much they have seen; the first that is there is taken."""

_CELLS = 7
"""Of the label of a step, which leaves air on both sides of it."""

_GAPS = (
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
    7200.0,
    10800.0,
    21600.0,
    43200.0,
    86400.0,
)
"""Seconds between two labels of a time, as clocks divide it."""


@dataclass(frozen=True, slots=True)
class Abscissa:
    """Turns steps into where they are drawn."""

    kind: Kind = "step"
    started: float = 0.0
    """Unix time of the first frame."""
    known: Track | None = None
    """Of "tokens": how many there were at which step; of the times: when which step was."""

    @classmethod
    def of(cls, view: View, kind: Kind) -> Abscissa:
        """By steps where the run does not have what is asked for."""
        if kind == "tokens":
            name = tokens_name(view)
            return cls(kind, view.started, view.series[name]) if name else cls()
        told = view.series.get("loss") or max(view.series.values(), key=len, default=None)
        return (
            cls() if kind == "step" or told is None or view.header.untimed else cls(kind, view.started, told)
        )

    def over(self, track: Track) -> Track:
        """The track with this in place of its steps."""
        if self.kind == "step":
            return track
        return _over(self, track)

    def at(self, step: float) -> float:
        """Where a step lies, by the samples around it."""
        if self.known is None:
            return float(step)
        import numpy as np

        steps, places = _knots(self.known, self.kind == "tokens")
        return float(np.interp(step, steps, places)) - self._origin

    def step_at(self, place: float) -> int:
        """The step that is drawn there."""
        if self.known is None:
            return round(place)
        import numpy as np

        steps, places = _knots(self.known, self.kind == "tokens")
        return round(float(np.interp(place + self._origin, places, steps)))

    def event(self, step: int, wall: float) -> float:
        """Where something lies that happened at this step and time."""
        return wall - self._origin if self.kind in ("elapsed", "clock") and wall else self.at(step)

    @property
    def _origin(self) -> float:
        return self.started if self.kind == "elapsed" else 0.0


STEPS = Abscissa()


def gap(kind: Kind, least: float) -> float:
    """The next round distance of two labels."""
    if kind in ("elapsed", "clock"):
        return next((gap for gap in _GAPS if gap >= least), 86400.0 * math.ceil(least / 86400.0))
    return nice_above(max(least, 1.0))  # there is nothing between two steps


def label(kind: Kind, place: float) -> str:
    """Words for a place."""
    if kind == "elapsed":
        return duration(place)
    if kind == "clock":
        return time.strftime("%H:%M:%S" if place % 60 else "%H:%M", time.localtime(place))
    return short(place)


def labels(kind: Kind, places: Sequence[float]) -> list[str]:
    """Words for the places of an axis; empty where they would be those of another place."""
    return (
        tick_names(places, _CELLS) if kind in ("step", "tokens") else [label(kind, place) for place in places]
    )


def tokens_name(view: View) -> str:
    return next((name for name in TOKENS if name in view.series), "")


def next_kind(view: View, kind: Kind) -> Kind:
    """The one after it that this run has."""
    here = {
        "step",
        *(() if view.header.untimed else ("elapsed", "clock")),
        *(("tokens",) if tokens_name(view) else ()),
    }
    kinds: list[Kind] = [each for each in KINDS if each in here]
    return kinds[(kinds.index(kind) + 1) % len(kinds)] if kind in kinds else kinds[0]


def _over(abscissa: Abscissa, track: Track) -> Track:
    import numpy as np

    assert abscissa.known is not None
    steps, places = _knots(abscissa.known, abscissa.kind == "tokens")
    lasts = np.interp(np.frombuffer(track.steps), steps, places)
    if abscissa.kind == "tokens":
        firsts = np.interp(np.frombuffer(track.firsts), steps, places)
        return track.moved(firsts.tobytes(), lasts.tobytes())
    # A measurement comes later than its step was; a sample from before the training went back has its own time.
    times = (np.minimum(lasts, np.frombuffer(track.walls)) - abscissa._origin).tobytes()
    return track.moved(times, times)  # of a bucket only the time of its last sample is known


@lru_cache(maxsize=4)
def _knots(track: Track, tokens: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps of the buckets, ascending, and the tokens or the time at each; of several attempts the latest."""
    import numpy as np

    steps = np.frombuffer(track.steps)
    latest = steps <= np.minimum.accumulate(steps[::-1])[::-1]
    places = np.maximum.accumulate(np.frombuffer(track.highs if tokens else track.walls)[latest])
    return steps[latest], places
