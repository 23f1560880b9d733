"""What broke, seen from the end: a sharpness that jumped, a loss that was lost for good, generalisation that went.

Nothing here is causal, and nothing is shared with the detectors.
"""

from __future__ import annotations

import math
from statistics import median

import numpy as np

from .recorder import Recorded
from .run import Event
from .truth import evaluations

BESIDE = 5
"""Measurements of the sharpness on either side of what was done."""

SHARPER = (3.0, 2.0)
"""Times the sharpness before: a jump by anybody's word, or by some."""

GAIN = 0.2
"""Part of the first loss that must have been gained before it can be lost."""

GONE = 0.5
"""Part of the gain that is gone at the end, or of the first loss that the end lies above it."""

STAYS = 3
"""Evaluations in a row of a training accuracy that is there."""

HAD, FELL, KEPT = 0.3, (0.2, 0.1), 0.05
"""Validation accuracy above its lowest that there was to lose; how far it lies below its best at the end, plainly and
softly; and how far below its value then the training accuracy may lie."""


def from_sharpness(found: Recorded, step: int) -> list[Event]:
    """A jump of λ_max at the step at which something was done, if the loss on all data has not fallen by a fifth."""
    before = [row for row in found.curvature if row[0] < step][-BESIDE:]
    after = [row for row in found.curvature if row[0] >= step][:BESIDE]
    times = after[0][1] / median(row[1] for row in before)
    if times < SHARPER[1] or after[0][5] < 0.8 * before[-1][5]:
        return []
    return [Event("curvature_spike", step, step, step + 100, times < SHARPER[0])]


def from_divergence(found: Recorded) -> list[Event]:
    """At the end half of what the loss had come down is lost again, or it lies well above where it began."""
    rows = [(step, values["loss"]) for step, values in found.scalars if "loss" in values]
    steps = np.array([step for step, _ in rows])
    loss = np.array([value if math.isfinite(value) else math.inf for _, value in rows])
    first, final = float(np.median(loss[:10])), float(np.median(loss[-max(10, len(loss) // 10) :]))
    window = 10
    smooth = np.array([np.median(loss[max(0, here - window) : here + 1]) for here in range(len(loss))])
    best = float(smooth.min())
    lost = first - best > GAIN * abs(first) and final > best + max(GONE * (first - best), 2 * abs(best))
    worse = final > first + GONE * abs(first)
    if not (lost or worse):
        return []
    low = best if lost else first
    share = [low + part * (min(final, 1e30) - low) for part in (0.1, 0.5)]
    onset, half = (int(np.flatnonzero(smooth <= level)[-1]) for level in share)
    return [Event("divergence", int(steps[onset]), int(steps[min(half + 1, len(steps) - 1)]), int(steps[-1]))]


def from_generalization(found: Recorded) -> list[Event]:
    """Validation accuracy ends well below its best, the training accuracy does not.

    It begins with a tenth of that fall; in the middle half of it is there, and the training accuracy is there (again);
    at the end nine tenths, and the training accuracy for three evaluations.
    """
    table = evaluations(found, "train/acc", "val/acc")
    steps, train, val = table.T
    smooth = np.convolve(np.pad(val, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    best = int(np.argmax(smooth))
    final, learned = float(np.median(smooth[-5:])), float(np.median(train[-5:]))
    fallen = float(smooth[best]) - final
    had = float(smooth[best] - smooth[: best + 1].min()) >= HAD
    kept = train >= float(train[best]) - KEPT
    if not had or fallen < FELL[1] or learned < float(train[best]) - KEPT:
        return []
    onset, half, end = (
        best + int(np.flatnonzero(smooth[best:] >= smooth[best] - part * fallen)[-1])
        for part in (0.1, 0.5, 0.9)
    )
    half += int(np.argmax(kept[half:]))
    stays = np.convolve(kept[half:], np.ones(STAYS), mode="full")[: len(kept) - half] >= STAYS
    end = max(end, half + int(np.argmax(stays)))
    return [
        Event("generalization_lost", int(steps[onset]), int(steps[half]), int(steps[end]), fallen < FELL[0])
    ]
