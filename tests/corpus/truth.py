"""What happened to accuracies and losses, seen from the end: memorising, grokking, overfitting, spikes, plateaus.

Nothing here is causal, and nothing is shared with the detectors.
"""

from __future__ import annotations

import math

import numpy as np

from .escapes import FLOOR, NEAR
from .recorder import Recorded
from .run import Event

HEART, GENERAL, APART = 0.98, 0.9, 0.35
"""Training accuracy known by heart; validation accuracy of what has generalised; and the gap between them at memorising."""

BRIEF = 5
"""Evaluations; with fewer of them known by heart and apart, nobody is blamed."""

HALFWAY = (0.3, 0.15)
"""Rise of validation accuracy that is grokking though training stopped before it was complete: plainly, and softly."""

LATER = 1.5
"""Half of the way to generalising comes at this multiple of the memorising step at least; sooner is ordinary learning."""


def evaluations(found: Recorded, *names: str) -> np.ndarray:
    """(n, 1 + names): the steps at which all of these were evaluated, with the values."""
    rows = [
        [step, *(values[name] for name in names)]
        for step, values in found.scalars
        if all(name in values for name in names)
    ]
    return np.array(rows) if rows else np.zeros((0, 1 + len(names)))


def from_accuracies(found: Recorded) -> list[Event]:
    """Memorised, and grokking with its onset (5 % of the rise), half, and completion, from the accuracies as a whole."""
    table = evaluations(found, "train/acc", "val/acc")
    if len(table) < 5:
        return []
    steps, train, val = table.T
    smooth = np.convolve(np.pad(val, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    known = np.flatnonzero((train >= HEART) & (train - smooth >= APART))
    if not len(known):
        return []
    at = int(known[0])
    last = int(steps[-1])
    final = float(np.median(smooth[-5:]))
    memorized = Event("memorized", int(steps[max(0, at - 1)]), int(steps[at]), last, len(known) < BRIEF)
    low = float(smooth[at:].min())
    half = at + int(np.argmax(smooth[at:] >= low + 0.5 * (final - low)))
    if final - low < HALFWAY[1] or steps[half] < LATER * steps[at]:
        return [memorized]
    below = np.flatnonzero(smooth[at : half + 1] <= low + 0.05 * (final - low))
    onset = at + int(below[-1])
    if final < GENERAL * float(np.median(train[-5:])):
        partly = final - low < HALFWAY[0]
        return [memorized, Event("grokking_onset", int(steps[onset]), int(steps[half]), last, partly)]
    done = half + int(np.argmax(smooth[half:] >= GENERAL * train[half:]))
    return [
        memorized,
        Event("grokking_onset", int(steps[onset]), int(steps[half]), int(steps[done])),
        Event("grokking_complete", int(steps[half]), int(steps[done]), last),
    ]


WORSE = (1.2, 1.08)
"""Validation loss over its minimum, while the training loss goes on falling: overfitting by anybody's word, or by some."""


def from_validation(found: Recorded) -> list[Event]:
    """Overfitting: the smoothed validation loss rises well above its minimum, and the training loss is lower there."""
    table = evaluations(found, "val/loss")
    losses = {step: values["loss"] for step, values in found.scalars}
    if len(table) < 10:
        return []
    steps, val = table.T
    smooth = np.convolve(np.pad(val, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    least = np.minimum.accumulate(smooth)
    plain = np.flatnonzero(smooth >= WORSE[0] * least)
    over = plain if len(plain) else np.flatnonzero(smooth >= WORSE[1] * least)
    if not len(over):
        return []
    at = int(over[0])
    low = int(np.argmin(smooth[: at + 1]))

    def train(index: int) -> float:
        near = [
            losses[step] for step in losses if abs(step - steps[index]) <= 20 and math.isfinite(losses[step])
        ]
        return float(np.mean(near)) if near else math.inf

    if train(at) >= train(low):
        return []
    return [Event("overfitting", int(steps[low]), int(steps[at]), int(steps[-1]), not len(plain))]


JUMP = 3.0
"""Loss of three samples over the largest of the hundred before, and over its median plus ten deviations."""


def from_spikes(found: Recorded) -> list[Event]:
    """Spikes that came by themselves, late in a training with Adam as a rule; of these nobody has to tell."""
    rows = [
        (step, values["loss"])
        for step, values in found.scalars
        if math.isfinite(values.get("loss", math.nan))
    ]
    steps, loss = np.array([step for step, _ in rows]), np.array([value for _, value in rows])
    events: list[Event] = []
    for here in range(50, len(loss) - 3):
        before, level = loss[max(0, here - 100) : here], float(np.median(loss[here : here + 3]))
        if level < JUMP * before.max() or (events and steps[here] - events[-1].step < NEAR):
            continue
        middle = float(np.median(before))
        if level > middle + 10 * 1.4826 * float(np.median(np.abs(before - middle))):
            at = int(steps[here])
            events += [
                Event(kind, at, at, at + 100, True)
                for kind in ("loss_spike", "curvature_spike", "divergence")
            ]
    return events


LEVEL, SLOPE = (0.03, 0.05), (0.15, 0.10)
"""Parts of itself by which the loss of a plateau varies at most, and that it must lose afterwards: plainly, and softly."""

LONG = (150, 40)
"""Steps that a plateau lasts, plainly and softly."""

LR_MOVED = 1.5
"""A learning rate that changed by this factor meanwhile: then nobody is blamed for not telling of it."""


def from_plateaus(found: Recorded) -> list[Event]:
    """Plateaus left, from the loss on all data: nothing is said of why. The fall takes no longer than the plateau took."""
    rows = np.array([(row[0], row[5]) for row in found.curvature if math.isfinite(row[5])])
    if len(rows) < 10:
        return []
    rates = {step: values["lr"] for step, values in found.scalars if "lr" in values}
    plain = _plateaus(rows, rates, 0)
    soft = [
        event
        for event in _plateaus(rows, rates, 1)
        if not any(event.onset <= other.until and other.onset <= event.until for other in plain)
    ]
    return sorted([*plain, *soft], key=lambda event: event.step)


def _plateaus(rows: np.ndarray, rates: dict[int, float], how: int) -> list[Event]:
    steps, loss = rows.T
    events: list[Event] = []
    start = 0
    for end in range(len(loss) - 1):
        while loss[start : end + 1].max() - loss[start : end + 1].min() > LEVEL[how] * abs(
            loss[start : end + 1].max()
        ):
            start += 1
        level = float(np.median(loss[start : end + 1]))
        length = steps[end] - steps[start]
        more = loss[start : end + 2]
        if (
            level < FLOOR * loss.max()
            or length < LONG[how]
            or more.max() - more.min() <= LEVEL[how] * abs(more.max())
        ):
            continue
        below = np.flatnonzero(loss[end:] <= level - SLOPE[how] * abs(level))
        if not len(below) or steps[end + below[0]] - steps[end] > length:
            continue
        gone = end + int(below[0])
        half = end + int(np.argmax(loss[end:] <= level - SLOPE[how] * abs(level) / 2))
        seen = [rate for step, rate in rates.items() if steps[start] <= step <= steps[gone] and rate > 0]
        steady = not seen or max(seen) < LR_MOVED * min(seen)
        event = Event(
            "plateau_left",
            int(steps[end]),
            int(steps[half]),
            int(steps[gone] + length),
            how == 1 or not steady,
        )
        if events and event.onset <= events[-1].until:
            continue
        events.append(event)
    return events


HOVERS = (0.9, 1.15)
"""Sharpness over the optimizer's edge of a training that hovers there, ten measurements long in the mean."""


def from_edge(found: Recorded) -> list[Event]:
    """Where the sharpness has risen to the edge 2/lr and stays there, from the exact ratio."""
    table = evaluations(found, "stability/ratio")
    if len(table) < 20:
        return []
    steps, ratio = table.T
    mean = np.convolve(ratio, np.ones(10) / 10, mode="valid")  # of the ten from here on
    hovers = (mean >= HOVERS[0]) & (mean <= HOVERS[1])
    if not hovers.any():
        return []
    at = int(np.argmax(hovers))
    gone = np.flatnonzero(~hovers[at:])
    end = at + int(gone[0]) if len(gone) else len(ratio) - 1
    return (
        [Event("edge_of_stability", int(steps[max(0, at - 5)]), int(steps[at]), int(steps[end]))]
        if end - at >= 5
        else []
    )
