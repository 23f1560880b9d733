"""What a panel of curves shows: its settings, and what it took from the view by them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lsmon.protocol.names import quantity

from ..axes import UNIT, StepAxis
from ..examples import leading
from ..format import number, short
from ..lens import LENS, Lens
from ..view import Track

DOUBTS = ("unreliable", "not converged", "saturated", "undersampled")
"""Words after which a value must be read with care: they are said first, and marked."""

_EDGE_IN_SIGHT = 4.0
"""An edge further above or below the curves than this factor is said and not drawn: it would flatten them."""


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

    @property
    def tallest(self) -> float:
        """The largest value of the curves."""
        return max((track.buckets.highest for track in self.tracks), default=0.0)

    @property
    def edge_in_sight(self) -> bool:
        """Whether the edge is so near to the curves that an axis can hold it without flattening them."""
        if not math.isfinite(self.edge):  # as in most panels
            return False
        least = min((track.buckets.lowest for track in self.tracks), default=0.0)
        return 0 < self.edge <= self.tallest * _EDGE_IN_SIGHT and least <= self.edge * _EDGE_IN_SIGHT


def reads_log(tracks: Sequence[Track]) -> bool:
    """Whether the axis is logarithmic unless a person says otherwise: never where it would hide negative values."""
    return (
        bool(tracks)
        and quantity(tracks[0].name).log
        and not any(track.buckets.lowest < 0 for track in tracks)
    )


def doubt(tracks: Sequence[Track]) -> tuple[str, str]:
    """The most important thing to say about these values."""
    for track in tracks:
        if track.odd and not math.isfinite(track.value):
            since = f"{number(track.value)} since step {short(track.odd_step)}"
            return "critical", f"{quantity(track.name).label} is {since}"
    for track in tracks:
        at = max(track.words.find(word) for word in DOUBTS)
        if at >= 0:
            lead = leading(track.words) or f"{quantity(track.name).label}: "
            return "warning", f"{lead}{track.words[at:]}"
    for track in tracks:
        if track.odd:
            times = f"{track.odd}×, last near step {short(track.odd_step)}"
            return "warning", f"{quantity(track.name).label} was nan or infinite {times}"
    return "dim", next((track.words for track in tracks if track.words), "")
