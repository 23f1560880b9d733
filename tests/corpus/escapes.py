"""Escapes from saddles, seen from the end: from the modes of a problem that is solved, else from |∇L| over the whole run.

Nothing here is causal, and nothing is shared with the detectors.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .critical import saddle_before
from .recorder import Recorded
from .run import Event

NEAR = 200
"""Steps: spikes that are nearer are one event."""

TURN, PLAIN = 1.02, 2.0
"""|∇L| at the crest over |∇L| at the bottom before it: of a slow point at all, and of an escape that anybody would see."""

DESCENT = 0.02
"""Part of the loss at the plateau that the escape must gain."""

ALONG = -0.01
"""ĝᵀHĝ over |H| on the way to the crest: below it the sign is certain, with dense Hessians."""

SMALL = 0.05
"""Share of a mode that may be there at first."""

FLOOR = 1e-5
"""Part of the largest loss of the run: below it float32 rounds away what there is to see."""


def from_modes(found: Recorded) -> list[Event]:
    """Escapes of a problem whose modes are known: onset, escape and end are 10, 50 and 90 % of the mode learned.

    Modes are shares of their final size. One that is not small at first cannot say what it left: of its escape the
    critical point decides, as for a network. A mode whose 10 % comes before the 90 % of the one before has left a saddle of
    its own when training slowed down in between, and did so near one; otherwise both left the same, and are one event.
    """
    steps = np.array([step for step, _ in found.modes])
    table = np.array([values for _, values in found.modes])
    modes: list[Event] = []
    for mode in table.T:
        if mode[0] > SMALL or mode.max() < 0.9:
            continue
        low, half, high = (int(steps[np.argmax(mode >= share)]) for share in (0.1, 0.5, 0.9))
        modes.append(Event("saddle_escape", low, half, high))
    events: list[Event] = []
    for mode in sorted(modes, key=lambda event: event.step):
        before = events[-1] if events else None
        if before is None or mode.onset > before.until or _between(found, before, mode):
            events.append(replace(mode, soft=_rise(found, before.step if before else 0, mode) < PLAIN))
        else:
            events[-1] = replace(before, until=max(before.until, mode.until))
    if (table[0] > SMALL).any():
        others = from_spectrum(found)
        events += [
            one for one in others if not any(one.onset <= e.until and e.onset <= one.until for e in events)
        ]
    return sorted(events, key=lambda event: event.step)


def _rise(found: Recorded, since: int, mode: Event) -> float:
    """|∇L| at its largest in an escape over its smallest between the middle of the one before and its own."""
    slow = min(row[4] for row in found.curvature if since <= row[0] <= max(mode.step, since + 20))
    crest = max(row[4] for row in found.curvature if mode.onset - 20 <= row[0] <= mode.until + 20)
    return float(crest / max(slow, 1e-300))


def _between(found: Recorded, before: Event, mode: Event) -> bool:
    """Whether there is an escape whose slow point lies between the middles of these two."""
    return any(
        before.step < found.points[slow][0] < mode.step and _saddle(found, slow, end)
        for slow, _, end in _slow_points(found)
    )


def from_spectrum(found: Recorded) -> list[Event]:
    """Escapes of a network, from |∇L| on all data: a slow point near a saddle, a crest, and a fall of the loss.

    On the way to the crest the curvature along the gradient is negative, and ``critical`` finds the saddle. Onset,
    escape and end are 10, 50 and 90 % of the fall of the loss from that slow point to the next one.
    """
    rows = found.curvature
    events = []
    for slow, crest, end in _slow_points(found):
        if _saddle(found, slow, end):
            loss = np.array([row[5] for row in rows[slow : end + 1]])
            fall = loss[0] - loss[-1]
            low, half, high = (
                rows[slow + int(np.argmax(loss <= loss[0] - share * fall))][0] for share in (0.1, 0.5, 0.9)
            )
            soft = max(row[4] for row in rows[slow : crest + 1]) < PLAIN * rows[slow][4]
            events.append(Event("saddle_escape", low, half, high, soft=soft))
    return events


def _slow_points(found: Recorded) -> list[tuple[int, int, int]]:
    """Positions of slow points, of the crests after them and of the next slow points, where the rest may be an escape."""
    rows = np.array(found.curvature)
    if len(rows) < 10:
        return []
    last = int(np.argmin(np.isfinite(rows).all(1))) or len(rows)
    _, top, bottom, along, norm, loss = rows[:last].T
    smooth = np.convolve(np.log(np.pad(norm, 2, mode="edge") + 1e-300), np.ones(5) / 5, mode="valid")
    turns = _turns(smooth, math.log(TURN))
    slow_points = []
    for number, (start, kind) in enumerate(turns[:-1]):
        crest = turns[number + 1][0]
        end = turns[number + 2][0] if number + 2 < len(turns) else last - 1
        way = slice(start, crest + 1)
        negative = (along[way] / np.maximum(top, -bottom)[way]).min() < ALONG
        fallen = loss[start] - loss[end] >= DESCENT * abs(loss[start])
        if kind == "bottom" and negative and fallen and loss[start] >= FLOOR * loss.max():
            slow_points.append((start, crest, end))
    return slow_points


def _saddle(found: Recorded, slow: int, end: int) -> bool:
    assert found.loss is not None
    return (
        saddle_before(found.loss, found.reference, found.points[slow][1], after=found.curvature[end][5])
        is not None
    )


def _turns(values: np.ndarray, least: float) -> list[tuple[int, str]]:
    """Bottoms and crests in turn, each at least ``least`` away from the one before."""
    turns: list[tuple[int, str]] = []
    low = high = 0
    for here, value in enumerate(values):
        low = here if value < values[low] else low
        high = here if value > values[high] else high
        going = turns[-1][1] if turns else ""
        if going != "bottom" and value >= values[low] + least:
            turns.append((low, "bottom"))
            high = here
        elif going != "crest" and value <= values[high] - least:
            turns.append((high, "crest"))
            low = here
    if turns and turns[-1][1] == "bottom":
        turns.append((high, "crest"))
    return turns
