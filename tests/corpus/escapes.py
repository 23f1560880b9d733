"""Escapes from saddles, seen from the end: from the modes of a problem that is solved, else from |∇L| over the whole run.

Nothing here is causal, and nothing is shared with the detectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .recorder import Recorded
from .run import Event

NEAR = 200
"""Steps: two escapes whose middles are nearer are one event, since an alert comes at most once in 200 steps."""

PLAIN, SOFT = 2.0, 1.05
"""|∇L| at the crest over |∇L| at the bottom before it: an escape that has to be told, and one that may be."""

DESCENT = 0.02
"""Part of the loss at the plateau that the escape must gain."""

UNSTABLE, ALONG = 0.01, -0.05
"""-λ_min over |H| at the plateau, below which it is no saddle but a valley; and ĝᵀHĝ over |H| on the way to the crest."""

ALONG_SOFT = -0.01
"""The same for an escape that may be told: below it the sign is certain, with dense Hessians."""

FLOOR = 1e-5
"""Part of the largest loss of the run: below it float32 rounds away what there is to see."""


def from_modes(modes: Sequence[tuple[int, Sequence[float]]]) -> list[Event]:
    """Escapes of a problem whose modes are known: onset, escape and end are 10, 50 and 90 % of the mode learned.

    Modes are shares of their final size. A mode whose 10 % comes before the 90 % of the one before never stood at a
    saddle of its own, nor did one whose middle is near: the first of them is the event, the others are optional.
    """
    steps = np.array([step for step, _ in modes])
    table = np.array([values for _, values in modes])
    found: list[Event] = []
    for mode in table.T:
        if mode[0] > 0.05 or mode.max() < 0.9:
            continue
        low, half, high = (int(steps[np.argmax(mode >= share)]) for share in (0.1, 0.5, 0.9))
        found.append(Event("saddle_escape", low, half, high))
    return apart(sorted(found, key=lambda event: event.step))


def apart(events: list[Event]) -> list[Event]:
    """Events that overlap one before them, or whose middles are near, become optional."""
    kept: list[Event] = []
    for event in events:
        plain = [other for other in kept if not other.optional]
        if plain and (event.onset <= plain[-1].until or event.step - plain[-1].step < NEAR):
            event = replace(event, optional=True)
        kept.append(event)
    return kept


def from_spectrum(found: Recorded, *, optional: bool = False) -> list[Event]:
    """Escapes of a network, from |∇L| on all data: a bottom with λ_min negative, a crest, and a fall of the loss.

    On the way to the crest the curvature along the gradient is negative. Onset, escape and end are 10, 50 and 90 % of
    the fall of the loss from that bottom to the next one. ``optional``: of an ordinary network, where nobody is blamed.
    """
    plain = _escapes(found, PLAIN, optional)
    soft = [
        event
        for event in _escapes(found, SOFT, True)
        if not any(event.step == other.step or event.onset == other.onset for other in plain)
    ]
    return sorted([*apart(plain), *soft], key=lambda event: event.step)


def _escapes(found: Recorded, turning: float, optional: bool) -> list[Event]:
    rows = np.array([row for row in found.curvature if all(math.isfinite(x) for x in row)])
    if len(rows) < 10:
        return []
    steps, top, bottom, along, norm, loss = rows.T
    size = np.maximum(top, -bottom)
    smooth = np.convolve(np.log(np.pad(norm, 2, mode="edge") + 1e-300), np.ones(5) / 5, mode="valid")
    turns = _turns(smooth, math.log(turning))
    events = []
    for number, (start, kind) in enumerate(turns):
        if kind != "bottom" or number + 1 >= len(turns):
            continue
        crest = turns[number + 1][0]
        end = turns[number + 2][0] if number + 2 < len(turns) else len(steps) - 1
        way = slice(start, crest + 1)
        negative = ALONG if turning == PLAIN else ALONG_SOFT
        unstable = (bottom[way] / size[way]).min() < -UNSTABLE and (along[way] / size[way]).min() < negative
        fall = loss[start] - loss[end]
        if (
            loss[start] < FLOOR * loss.max()
            or not unstable
            or fall < DESCENT * abs(loss[start])
            or end <= crest
        ):
            continue
        low, half, high = (
            int(steps[start + int(np.argmax(loss[start : end + 1] <= loss[start] - share * fall))])
            for share in (0.1, 0.5, 0.9)
        )
        events.append(Event("saddle_escape", low, half, high, optional))
    return events


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
