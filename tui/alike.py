"""Several courses of one quantity at one moment, as means over as many steps each."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import replace

from .view import Track, read


def read_alike(tracks: Sequence[Track], steps: Sequence[float]) -> list[Track]:
    """Each at its step, as the mean of what lies as far around it as in the widest bucket of them: of a long run only
    means of many steps are kept, and beside a single sample of a short one these differ by its noise."""
    # None of them looks further ahead than all have come.
    ahead = min((_last(track) - step for track, step in zip(tracks, steps, strict=True)), default=0.0)
    spans = [_span(track, step, max(ahead, 0.0)) for track, step in zip(tracks, steps, strict=True)]
    low, high = max(spans, key=lambda span: span[1] - span[0], default=(0.0, 0.0))
    return [_alike(track, step, low, high) for track, step in zip(tracks, steps, strict=True)]


def _alike(track: Track, step: float, low: float, high: float) -> Track:
    here = step >= track.step
    if here and (high <= low or not math.isfinite(track.value)):
        return track
    mean = _mean(track, step, low, high) if high > low else None
    return mean if mean is not None else (track if here else read(track, int(step)))


def _last(track: Track) -> float:
    return track.buckets.real(1)[-1] if len(track) else math.inf


def _span(track: Track, step: float, ahead: float) -> tuple[float, float]:
    """Where the bucket at this step begins and ends, relative to it; the one before where that ends too late."""
    firsts, lasts = track.buckets.real(0), track.buckets.real(1)
    for at in range(len(firsts) - 1, -1, -1):
        if firsts[at] <= step and (lasts[at] - step <= ahead or not at or firsts[at] < firsts[at - 1]):
            return firsts[at] - step, lasts[at] - step
    return 0.0, 0.0


def _mean(track: Track, step: float, low: float, high: float) -> Track | None:
    """Of the buckets that lie in this stretch around the step; None where none does."""
    firsts, lasts, totals, errors = (track.buckets.real(column) for column in (0, 1, 5, 6))
    counts, found, below = track.buckets.whole(0), array("q"), math.inf
    for at in range(len(firsts) - 1, -1, -1):
        if lasts[at] < step + low:
            break
        # From the end: after a resume the latest attempt is what is read.
        if step + low <= firsts[at] and lasts[at] <= step + high and lasts[at] < below:
            found.append(at)
            below = firsts[at]
    count = sum(counts[at] for at in found)
    if not count:
        return None
    error = max(errors[at] for at in found)
    return replace(
        track, value=sum(totals[at] for at in found) / count, error=error if error >= 0 else math.nan,
        words="", step=int(min(lasts[found[0]], step)), odd=0,
    )  # fmt: skip
