"""What is compared, side by side in numbers: values with their doubt, and the difference from the first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lsmon.protocol.counts import grouped
from lsmon.protocol.names import quantity

from ..alike import read_alike
from ..format import number, with_error
from ..measured_at import at_step
from ..side import Side, doubtful, meeting, volume_change
from ..view import Track
from .canvas import Canvas, cells, fit
from .overlay import MOST_SIDES
from .panel import Panel, dash

COLUMNS = (
    "loss",
    "val/loss",
    "val/acc",
    "hessian/max",
    "hessian/min",
    "hessian/negative_at_least",
    "temperature/noise",
    "volume/log",
)
_NEAR = 0.005
"""Of a step: so near to one another are values of one step, since not everything is logged at the very last."""
_HELD = 0.02
"""The same where two steps meet by time or loss, which is no closer than that: what was measured last is of that place."""


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    cells: tuple[str, ...]
    curve: int = -1


@dataclass(frozen=True, slots=True)
class Table:
    heads: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    volumes: tuple[tuple[str, str], ...] = ()
    """(ink, words): the differences of log-volumes, or why there are none."""

    def first(self, cols: int) -> int:
        """Where the first column begins, behind the labels."""
        return min(max([12, *(cells(row.label) for row in self.rows)]) + 4, max(cols // 3, 12))

    def starts(self, cols: int) -> list[int]:
        """Where each column begins, of as many as there is room for: each as wide as its widest cell."""
        starts, first = [], self.first(cols)
        for head, *column in zip(self.heads, *(row.cells for row in self.rows), strict=True):
            width = max(cells(words) for words in (head, *column))
            if first + width > cols:
                break
            starts.append(first)
            first += width + 2
        return starts


class SidesPanel(Panel):
    """A line a side, then a line for each difference."""

    @property
    def held(self) -> Table:
        return self.content if isinstance(self.content, Table) else Table()

    @property
    def height_wanted(self) -> int:
        return 3 + len(self.held.rows) + len(self.held.volumes)

    def tell(self, sides: Sequence[Side], how: str) -> None:
        sides = sides[:MOST_SIDES]
        content = tabled(sides, how)
        if content != self.content:
            self.content = content
            self.redraw()

    def note(self) -> tuple[str, str]:
        held = self.held
        left = held.heads[len(held.starts(self.size.width - 4)) :]
        return "dim", f"no room for {', '.join(left)}" if left else ""

    def draw_line(self, canvas: Canvas) -> None:
        self.draw_inside(canvas)

    def draw_inside(self, canvas: Canvas) -> None:
        held = self.held
        first, starts = held.first(canvas.cols), held.starts(canvas.cols)
        for x, head in zip(starts, held.heads, strict=False):
            canvas.put(x, 0, head, "faint")
        for y, row in enumerate(held.rows, start=1):
            x = 0
            if row.curve >= 0:
                x = canvas.put(0, y, f"{dash(row.curve, self.ascii_only)} ", f"curve{row.curve}")
            canvas.put(
                x,
                y,
                fit(row.label, first - x - 1, "~" if self.ascii_only else "…"),
                "ink" if row.curve >= 0 else "dim",
            )
            for x, words in zip(starts, row.cells, strict=False):
                canvas.put(x, y, words, "ink" if row.curve >= 0 else "dim")
        for y, (ink, words) in enumerate(held.volumes, start=len(held.rows) + 1):
            canvas.put(0, y, words, ink)


def tabled(sides: Sequence[Side], how: str = "step") -> Table:
    """Values of the columns that any side has, differences, and the change of the log-volume with its error.

    Whole runs differ by what they were at the last step, time or loss that both have; two steps of one run by what it
    was at each.
    """
    names = [name for name in COLUMNS if any(name in side.view.series for side in sides)]
    rows = []
    for index, side in enumerate(sides):
        at = f" from step {grouped(side.origin)}" if side.origin is not None else ""
        label = f"{side.label}{at}" + (f"  {side.state}" if side.state else "")
        rows.append(
            Row(
                label,
                (
                    grouped(side.step),
                    *(_cell(side, name) if name in side.view.series else "–" for name in names),
                ),
                index,
            )
        )
    volumes: list[tuple[str, str]] = []
    for side in sides[1:]:
        first = sides[0]
        whole = first.origin is None and side.origin is None
        common = meeting(first, side, how) if whole else None
        if common is None:
            where = _signed(side.step - first.step)
        elif how == "step":
            where = at_step(common[0])
        else:
            where = f"{at_step(common[1])} − {at_step(common[0])}"
        differences = [_difference(first, side, name, common) for name in names]
        rows.append(Row(f"{_name(side)} − {_name(first)}", (where, *differences)))
        found, words = volume_change(first, side)
        if found is None:
            volumes.append(("warning", f"log-volume: {words}"))
        else:
            does = "wider than" if found.value > 0 else "narrower than" if found.value < 0 else "as wide as"
            value = with_error(found.value, found.se)
            volumes.append(
                (
                    "ink",
                    f"log-volume {value} nats: the valley of {_name(side)} is {does} that of {_name(first)} ({words}){doubtful(found)}",
                )
            )
    return Table(
        ("step", *(quantity(name).label for name in names)), tuple(rows), tuple(dict.fromkeys(volumes))
    )


def _name(side: Side) -> str:
    return side.label if side.origin is None else f"step {grouped(side.origin)}"


def _cell(side: Side, name: str) -> str:
    track = side.value(name)
    if not len(track):  # not measured yet at the step where it begins
        return "–"
    words = with_error(track.value, track.error)
    return words if _near(track.step, side.step) else f"{words} {at_step(track.step)}"


def _near(one: int, two: int, share: float = _NEAR) -> bool:
    return abs(one - two) <= max(1, share * max(abs(one), abs(two)))


def _difference(first: Side, side: Side, name: str, common: tuple[int, int] | None) -> str:
    """At the steps at which they meet, where they do. None between values of different moments, unless each is of
    the step that is compared."""
    here, there = common or (first.step, side.step)
    one, two = read_alike([each.view.series.get(name, Track(name)) for each in (first, side)], (here, there))
    value = two.value - one.value
    if not math.isfinite(value):
        return "–"
    alike = here == there and _near(one.step, two.step)
    if common is None:
        alike = _near(one.step - (first.origin or 0), two.step - (side.origin or 0))
    share = _NEAR if common is None or here == there else _HELD
    if not alike and not (_near(one.step, here, share) and _near(two.step, there, share)):
        return f"at {one.step} and {two.step}"
    errors = [one.error, two.error]
    # Both known or none: half an error would be too small a doubt.
    words = with_error(value, math.hypot(*errors)) if all(map(math.isfinite, errors)) else number(value)
    return f"+{words}" if value > 0 else words


def _signed(value: int) -> str:
    return f"+{grouped(value)}" if value > 0 else grouped(value)
