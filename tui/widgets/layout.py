"""Which panels fit, and where: pure arithmetic, so that a test can check every size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.geometry import Region

ORDER = (
    "loss", "sharpness", "alerts", "negative curvature", "temperature", "accuracy", "trainability",
)  # fmt: skip
"""Most needed first. What does not fit goes in this order: the phase strip above the panels; then panels are folded to
one line, and then dropped, from the other end of this list."""

STRIP_COLS = 40
"""In fewer columns the phase strip holds no story."""

STRIP_ROWS = 20
"""Rows of the terminal from which on a page keeps the phase strip."""

_BOX_ROWS = 7
"""A box of fewer rows holds fewer than five of curve, which is too flat to read."""
_TWO_COLUMNS, _THREE_COLUMNS = 56, 104
"""Screen columns below which a curve would get fewer than some 25 cells."""
_FEW = 3
"""Panels of ours; with fewer than the loss, the alerts and one more, the training's own are what is looked at."""

# By (columns, bands): the columns from left to right, each with its panels and how many bands they take, so that
# all frames meet on common lines. What is compared stands side by side.
_COLUMNS: dict[tuple[int, int], tuple[tuple[tuple[str, int], ...], ...]] = {
    (2, 2): ((("loss", 1), ("negative curvature", 1)), (("sharpness", 1), ("alerts", 1))),
    (2, 3): (
        (("loss", 1), ("accuracy", 1), ("temperature", 1)),
        (("sharpness", 1), ("negative curvature", 1), ("alerts", 1)),
    ),
    (2, 4): (
        (("loss", 1), ("accuracy", 1), ("temperature", 1), ("trainability", 1)),
        (("sharpness", 1), ("negative curvature", 1), ("alerts", 2)),
    ),
    (3, 2): (
        (("loss", 1), ("accuracy", 1)),
        (("sharpness", 1), ("negative curvature", 1)),
        (("alerts", 1), ("temperature", 1)),
    ),
    (3, 3): (
        (("loss", 2), ("accuracy", 1)),
        (("sharpness", 1), ("negative curvature", 1), ("temperature", 1)),
        (("alerts", 2), ("trainability", 1)),
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel goes, as a box or as one line."""

    region: Region
    boxed: bool


def holds_strip(width: int, height: int, present: Sequence[str]) -> bool:
    """Whether the phase strip gets one of these rows. It is the first to go: wherever its row would cost a panel its
    place or its frame."""
    if width < STRIP_COLS:
        return False
    full, less = plan(width, height, present), plan(width, height - 1, present)
    return all(name in less and less[name].boxed == place.boxed for name, place in full.items())


def enlarged(width: int, height: int, name: str) -> dict[str, Place]:
    return {name: Place(Region(0, 0, width, height), height >= 4 and width >= 12)}


def plan(width: int, height: int, present: Sequence[str]) -> dict[str, Place]:
    """Places for as many of the panels as fit; no two overlap.

    ``present`` lists the panels that have something to show or to say; names outside ``ORDER`` are the training's own.
    """
    known = [name for name in ORDER if name in present]
    others = [name for name in present if name not in ORDER]
    columns = 1 if width < _TWO_COLUMNS else 2 if width < _THREE_COLUMNS else 3
    bands = min(_bands(height), 4 if columns == 2 else 3)
    if columns == 1 or bands < 2:
        return _folded(width, height, known + others)
    places: dict[str, Place] = {}
    below: dict[str, Place] = {}
    layout = _COLUMNS[columns, bands]
    seated = {name for column in layout for name, _ in column}
    # Where hardly any of ours is there, its seats are free: a lone list of alerts needs no screen.
    free = len(seated) - len(known) if len(known) < _FEW else 0
    if len(others) > free and height >= 44:
        # A band of its own below, as many as keep 30 columns each.
        shown, others = others[free:][: max(1, width // 30)], others[:free]
        tall = height // 4
        for name, (x, wide) in zip(shown, _split(width, [1] * len(shown)), strict=True):
            below[name] = Place(Region(x, height - tall, wide, tall), True)
        height -= tall
    waiting = [name for name in (*known, *others) if name not in seated]
    heights = _split(height, [9, 8, 8, 8][:bands] if columns == 2 else [1] * bands)
    shares = [1, 1] if columns == 2 else [38, 36, 26]
    taken = [(share, _occupied(column, known, waiting)) for share, column in zip(shares, layout, strict=True)]
    taken = [(share, column) for share, column in taken if column]
    for (x, wide), (_, column) in zip(_split(width, [share for share, _ in taken]), taken, strict=True):
        y = 0
        for name, tall in column:
            top, bottom = heights[y][0], sum(heights[y + tall - 1])
            places[name] = Place(Region(x, top, wide, bottom - top), True)
            y += tall
    return places | below


def pages(width: int, height: int, present: Sequence[str]) -> list[dict[str, Place]]:
    """The panels that fit; then those for which there was no room, laid out anew, and so on. One page at least."""
    found, left = [plan(width, height, present)], present
    while left := [name for name in left if name not in found[-1]]:
        page = plan(width, height, left)
        if not page:
            break
        found.append(page)
    return found


def _bands(height: int) -> int:
    """From three on the lowest may lack a row: so a replay of 24 rows keeps its phase strip and all its panels."""
    return height // _BOX_ROWS + (height % _BOX_ROWS == _BOX_ROWS - 1 and height >= 2 * _BOX_ROWS)


def _occupied(
    column: Sequence[tuple[str, int]], known: Sequence[str], waiting: list[str]
) -> list[tuple[str, int]]:
    """The column with absent panels replaced by waiting ones, or else given to the first panel in it."""
    seats = []
    free = 0
    for name, tall in column:
        if name in known:
            seats.append((name, tall))
        elif waiting:
            seats.append((waiting.pop(0), tall))
        else:
            free += tall
    if seats:
        seats[0] = (seats[0][0], seats[0][1] + free)
    return seats


def _folded(width: int, height: int, names: Sequence[str]) -> dict[str, Place]:
    """One or two boxes on top, one line for each other panel below."""
    boxes = list(names[: 2 if width >= _TWO_COLUMNS else 1])
    lines = [name for name in names if name not in boxes]
    tall = max(height - len(lines), min(height, _BOX_ROWS))
    if height < _BOX_ROWS:
        boxes, lines, tall = [], list(names), 0
    places = {}
    for name, (x, wide) in zip(boxes, _split(width, [1] * len(boxes)), strict=True):
        places[name] = Place(Region(x, 0, wide, tall), True)
    for y, name in enumerate(lines[: height - tall]):
        places[name] = Place(Region(0, tall + y, width, 1), False)
    return places


def _split(length: int, shares: Sequence[int]) -> list[tuple[int, int]]:
    """(start, length) of parts in these proportions that fill the whole."""
    total, parts, start, seen = sum(shares) or 1, [], 0, 0
    for share in shares:
        seen += share
        end = round(length * seen / total)
        parts.append((start, end - start))
        start = end
    return parts
