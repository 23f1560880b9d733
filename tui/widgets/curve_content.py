"""What a panel of curves shows: its settings, and what it took from the view by them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lsmon.protocol.names import quantity

from ..axes import UNIT, StepAxis
from ..lens import LENS, Lens
from ..view import Track


@dataclass(frozen=True, slots=True)
class Look:
    """How a panel draws its quantities."""

    names: tuple[str, ...] = ()
    """Curves in this order; others of the panel follow. Empty: all of the panel."""
    spoken: tuple[str, ...] = ()
    """Only their values are shown, no curve."""
    edge: str = ""
    """A quantity drawn across as a threshold,"""
    edge_unless: str = ""
    """except when this one is measured, whose threshold it is then."""
    share: bool = False
    """Between 0 and 1, read in per cent."""
    whole: bool = False
    """A count."""
    sensor: str = ""
    """Whose note in the heartbeat explains why nothing is here."""
    empty: str = "nothing yet"


@dataclass(frozen=True, slots=True)
class Content:
    """What is drawn; equal contents look equal."""

    tracks: tuple[Track, ...] = ()
    spoken: tuple[Track, ...] = ()
    edge: float = math.nan
    axis: StepAxis = UNIT
    log: bool = False
    alerts: tuple[tuple[int, str], ...] = ()
    """(column of dots, severity)"""
    note: tuple[str, str] = ("dim", "")
    empty: str = ""
    lens: Lens = LENS
    cursor: int | None = None
    """Column of dots."""
    ats: Mapping[str, str] = field(default_factory=dict)
    """Quantity → the step it was measured at, in words, where that is not the one that is shown."""
    missing: frozenset[str] = frozenset()
    """Quantities of which nothing had come at the step that is read."""


def reads_log(tracks: Sequence[Track]) -> bool:
    """Whether the axis is logarithmic unless a person says otherwise: never where it would hide negative values."""
    return bool(tracks) and quantity(tracks[0].name).log and not any(_lowest(track) < 0 for track in tracks)


def blank(tracks: Sequence[Track], low: float, high: float) -> str:
    """Why a logarithmic axis shows none of the finite values between ``low`` and ``high``, or none is there (nan)."""
    if math.isnan(low):
        return "no finite value to draw here"
    if low or high:
        return "nothing above zero to show on a logarithmic axis: y for linear"
    track = next((track for track in tracks if not track.value), tracks[0])
    why = f": {track.words}" if track.words else ""
    return f"{quantity(track.name).label} is 0{why}"


def _lowest(track: Track) -> float:
    return min(array("d", track.lows), default=0.0)
