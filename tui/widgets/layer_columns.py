"""One quantity over the layers: in words, as lengths of bars, and as a trend over depth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lsmon.protocol.depth import trend
from lsmon.protocol.frames import Layers
from lsmon.protocol.regime import STEEP

from ..format import number, percent

MOMENTS = ("activation", "gradient")
"""Second moments: told as powers of ten, in which a slope over depth is a line."""
_TITLES = {"activation": "act log10", "gradient": "grad log10", "dead": "dead", "hessian/max": "λ max"}
NO_LAYERS = "no layers yet: the probe tells them when it is given a model and an optimizer"


@dataclass(frozen=True, slots=True)
class Column:
    kind: str
    values: tuple[float, ...]
    """One a layer, NaN where none was told."""

    @classmethod
    def of(cls, frame: Layers, kind: str, names: Iterable[str]) -> Column:
        """What a frame tells of these layers."""
        told = dict(zip(frame.names, frame.values[kind], strict=False))
        return cls(kind, tuple(told.get(name, math.nan) for name in names))

    @property
    def title(self) -> str:
        return _TITLES.get(self.kind, self.kind)

    @property
    def scaled(self) -> list[float]:
        """As they are drawn: NaN for what is not finite or has no logarithm."""
        if self.kind not in MOMENTS:
            return [value if math.isfinite(value) else math.nan for value in self.values]
        return [math.log10(value) if 0.0 < value < math.inf else math.nan for value in self.values]

    def said(self, index: int) -> str:
        value = self.values[index]
        if math.isnan(value):
            return "–"
        if self.kind in MOMENTS:
            if value < 0:
                return "not fin."
            return f"{math.log10(value):.2f}".replace("-", "−") if value else "0"
        return percent(value) if self.kind == "dead" else number(value)

    def shares(self) -> list[float]:
        """Length of each bar between 0 and 1, or NaN. A share of units and a sharpness count from zero."""
        known = [value for value in self.scaled if not math.isnan(value)]
        if not known:
            return [math.nan] * len(self.values)
        low, high = min(known), max(known)
        if self.kind == "dead":
            low, high = 0.0, 1.0
        elif self.kind not in MOMENTS:
            low = min(low, 0.0)
        if self.kind in MOMENTS:
            # A decade at least: level layers are not made a mountain range.
            middle, half = (low + high) / 2, max((high - low) / 2, 0.5)
            low, high = middle - half * 1.1, middle + half
        span = (high - low) or 1.0
        return [(value - low) / span if not math.isnan(value) else math.nan for value in self.scaled]

    def slope(self) -> str:
        """The trend over depth in words; the last layer's scale is the task's, so it is left out."""
        line = trend(self.values[:-1]) if self.kind in MOMENTS else None
        if line is None:
            return ""
        does = "grows" if line.slope > STEEP else "shrinks" if line.slope < -STEEP else "level"
        return f"{self.kind} {does}: {number(line.slope, 2)} dex a layer over {line.layers} layers"


def tabled(scale: Layers, sharpness: Layers) -> tuple[tuple[str, ...], tuple[Column, ...]]:
    """Names, input side first, and the columns of both frames; what only one of them knows is left open."""
    names = merged(scale.names, sharpness.names)
    columns = [
        Column.of(frame, kind, names) for frame in (scale, sharpness) for kind in ordered(frame.values)
    ]
    return names, tuple(columns)


def merged(some: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Both in one order, of which each has a part: what only ``others`` has comes before what follows it there.

    >>> merged(("0", "4"), ("0", "1", "2", "4"))
    ('0', '1', '2', '4')
    """
    names = list(dict.fromkeys(some))
    place = len(names)
    for name in reversed(dict.fromkeys(others)):
        if name in names:
            place = names.index(name)
        else:
            names.insert(place, name)
    return tuple(names)


def ordered(kinds: Iterable[str]) -> list[str]:
    """Those that are known first, as they are told; then the others."""
    known = list(_TITLES)
    return sorted(kinds, key=lambda kind: (known.index(kind) if kind in known else len(known), kind))


def bar(share: float, room: int, *, ascii_only: bool = False) -> str:
    """A bar in eighths of cells; nothing for zero, and for nothing else."""
    share = min(max(share, 0.0), 1.0)
    if not share:
        return ""
    if ascii_only:
        return "=" * max(round(share * room), 1)
    eighths = max(round(share * room * 8), 1)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")
