"""The course of a recorded loss in a few points, for a list of many runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from lsmon.protocol.fold import LEVELS
from lsmon.protocol.frames import AnyFrame, Scalars, Summary
from lsmon.protocol.recording.reader import Recording

POINTS = 24
RAW_FRAMES, FINE_FRAMES = 2_000, 200_000
"""Up to so many frames the frames themselves are read, up to so many the fine rows: either some 20 ms."""

LAST_FRAMES = (64, 2_000)
"""From the end, in which the last loss is looked for: other numbers may have come after it."""


def loss_course(recording: Recording, points: int = POINTS) -> tuple[float, ...]:
    """Means of what was finite over stretches of the run, at most ``points``."""
    count = recording.frame_count
    frames: Iterable[AnyFrame]
    if count <= RAW_FRAMES:
        frames = recording.frames()
    else:
        frames = recording.summaries(LEVELS[0] if count <= FINE_FRAMES else LEVELS[1])
    return averaged(list(_losses(frames)), points)


def last_loss(recording: Recording) -> float | None:
    """The last that was told, NaN or infinite when that was so; None where the last frames hold none."""
    for count in LAST_FRAMES:
        last = None
        for frame in recording.numbered(max(recording.last_seq - count, 0), math.inf):
            if isinstance(frame, Scalars):
                last = frame.values.get("loss", last)
        if last is not None:
            return last
    return None


def averaged(values: list[float], points: int) -> tuple[float, ...]:
    """Neighbours as their mean, so that no more than ``points`` are left."""
    size = max(math.ceil(len(values) / points), 1)
    groups = (values[start : start + size] for start in range(0, len(values), size))
    return tuple(math.fsum(value / len(group) for value in group) for group in groups)


def _losses(frames: Iterable[AnyFrame]) -> Iterator[float]:
    for frame in frames:
        if isinstance(frame, Scalars):
            value = frame.values.get("loss", math.nan)
        elif isinstance(frame, Summary) and "loss" in frame.series and frame.series["loss"][0]:
            value = frame.series["loss"][3]
        else:
            continue
        if math.isfinite(value):
            yield value
