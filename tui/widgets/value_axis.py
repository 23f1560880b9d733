"""The axis of values that curves get, or in words why there is nothing to draw on one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lsmon.protocol.names import quantity

from ..axes import ValueAxis
from ..view import Track
from .curve_content import Content, Look

if TYPE_CHECKING:
    from ..columns import Columns, Floats


def value_axis(held: Content, look: Look, curves: Sequence[Columns], labels: int) -> ValueAxis | str:
    """For the curves of a panel, as they are binned."""
    import numpy as np

    every = np.concatenate([part for curve in curves for part in (curve.lows, curve.highs)])
    low, high = float(np.fmin.reduce(every)), float(np.fmax.reduce(every))
    if not math.isfinite(high - low):  # an error may be infinite
        every = every[np.isfinite(every)]
        low, high = (float(every.min()), float(every.max())) if len(every) else (math.nan, math.nan)
    if held.log and not low > 0:
        every = every[every > 0]
        if not len(every):
            return blank(held.tracks, low, high)
        low = float(every.min())
    if math.isnan(low):
        return blank(held.tracks, low, high)
    if held.lens.usual:
        low, high = _usual(every, held.log)
    if held.edge_in_sight:
        low, high = min(low, held.edge), max(high, held.edge)
    return between(low, high, labels, log=held.log, share=look.share, whole=look.whole)


def between(low: float, high: float, labels: int, *, log: bool, share: bool, whole: bool) -> ValueAxis:
    """For values from ``low`` to ``high``, which are positive where it is logarithmic. ``share``: of one. ``whole``: counts."""
    if share:
        return ValueAxis(0.0, 1.0, False, (0.0, 0.5, 1.0) if labels >= 3 else (0.0, 1.0))
    if log:
        return ValueAxis.logarithmic(low, high, labels)
    if whole:
        return ValueAxis.linear(0.0, max(high, 1.0), labels, least=1.0)
    return ValueAxis.linear(low, high, labels)


def blank(tracks: Sequence[Track], low: float, high: float) -> str:
    """Why a logarithmic axis shows none of the finite values between ``low`` and ``high``, or none is there (nan)."""
    if math.isnan(low):
        return "no finite value to draw here"
    if low or high:
        return "nothing above zero to show on a logarithmic axis: y for linear"
    track = next((track for track in tracks if not track.value), tracks[0])
    why = f": {track.words}" if track.words else ""
    return f"{quantity(track.name).label} is 0{why}"


def _usual(every: Floats, log: bool) -> tuple[float, float]:
    """Least and largest that are no outliers."""
    import numpy as np

    from ..columns import usual

    if not log:
        return usual(every)
    low, high = usual(np.log10(every))
    return float(10.0**low), float(10.0**high)
