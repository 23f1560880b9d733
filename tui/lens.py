"""How a person looks at the curves: over what, how much of it, how smooth. The same for all panels of a screen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from lsmon.protocol.counts import grouped

from .abscissa import TITLES, Abscissa, Kind, next_kind
from .axes import StepAxis
from .view import View

SMOOTHING = (0.0, 0.01, 0.04)
"""Radius of the Gaussian, as a share of the width of a plot."""
_SMOOTHED = ("", "smoothed", "much smoothed")
MOST_ZOOM = 20
"""Halvings: a millionth of the run."""
FEWEST = 20.0
"""Steps or seconds that are shown at least."""


@dataclass(frozen=True, slots=True)
class Lens:
    """Settings that keys change; the default shows the whole run over its steps."""

    kind: Kind = "step"
    zoom: int = 0
    """How often the run is halved."""
    end: int | None = None
    """Step at the right edge; None follows the newest."""
    smoothing: int = 0
    """Index into ``SMOOTHING``."""
    usual: bool = False
    """Outliers lie outside."""
    blocks: bool = False
    cursor: int | None = None
    """Step at which all panels are read."""

    def zoomed(self, by: int) -> Lens:
        zoom = min(max(self.zoom + by, 0), MOST_ZOOM)
        return replace(self, zoom=zoom, end=self.end if zoom else None)

    def turned(self, view: View) -> Lens:
        """Over what comes next: time, tokens, steps again."""
        return replace(self, kind=next_kind(view, self.kind))

    def smoother(self) -> Lens:
        return replace(self, smoothing=(self.smoothing + 1) % len(SMOOTHING))

    def panned(self, view: View, direction: int, dots: int) -> Lens:
        """By half of what is seen; at the newest it follows again. Nothing to do where all is seen."""
        if not self.zoom:
            return self
        abscissa = Abscissa.of(view, self.kind)
        axis = self.axis(view, abscissa, dots)
        first, last = extent(view, abscissa)
        end = min(abscissa.at(self.end), last) if self.end is not None else last
        end = max(end + direction * axis.width * dots / 2, min(first + axis.width * (dots - 2), last))
        return replace(self, end=None if end >= last else abscissa.step_at(end))

    def pointed(self, view: View, columns: int, dots: int) -> Lens:
        """The cursor moved by so many columns of cells; from the newest step when there was none."""
        abscissa = Abscissa.of(view, self.kind)
        axis = self.axis(view, abscissa, dots)
        at = self.cursor if self.cursor is not None else view.step
        step = abscissa.step_at(abscissa.at(at) + 2 * columns * axis.width)
        if columns and step == at:
            step += 1 if columns > 0 else -1
        return replace(self, cursor=min(max(step, view.first_step), view.step))

    def axis(self, view: View, abscissa: Abscissa, dots: int) -> StepAxis:
        """For a plot of so many columns of dots."""
        first, last = extent(view, abscissa)
        if not self.zoom:
            return StepAxis.over(first, last, dots)
        span = max((last - first) / 2**self.zoom, min(FEWEST, last - first))
        end = min(abscissa.at(self.end), last) if self.end is not None else last
        return StepAxis.within(first, last, dots, span, end)

    def words(self, step: float = math.inf) -> str:
        """All that is not as usual where the run is at this step, for the status line."""
        said = []
        if self.cursor is not None:
            said.append(f"read at step {grouped(self.cursor)}")
        if self.kind != "step":
            said.append(f"over {TITLES[self.kind]}")
        if self.zoom:
            said.append(f"zoom {grouped(2**self.zoom)}×")
        if self.end is not None and self.end < step:  # a replay may have gone back further
            said.append(f"back at step {grouped(self.end)}")
        if self.smoothing:
            said.append(_SMOOTHED[self.smoothing])
        if self.usual:
            said.append("outliers outside")
        return ", ".join(said)


LENS = Lens()


def extent(view: View, abscissa: Abscissa) -> tuple[float, float]:
    """Where the run begins and where it is now."""
    if abscissa.kind in ("elapsed", "clock"):
        first = abscissa.event(view.first_step, view.started)
        return first, max(abscissa.event(view.step, view.wall), first + 1.0)
    first = abscissa.at(view.first_step)
    return first, max(abscissa.at(view.step), first + 1.0)
