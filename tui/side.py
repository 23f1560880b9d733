"""A run, or what followed a step of it, as one side of a comparison: moved so that sides can be laid over one another."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import Curvature
from lsmon.protocol.volume import Change, change

from .feed import Feed
from .view import EMPTY, Track, View, read

ALIGNMENTS = ("step", "time", "loss")
"""By steps since the beginning of each side, by seconds since it, or by the best training loss reached so far."""


@dataclass(frozen=True, slots=True)
class Side:
    label: str
    view: View = EMPTY
    origin: int | None = None
    """The step from which this side begins; None for the whole run."""
    state: str = ""
    """How the run is doing, in a word."""

    @property
    def began(self) -> float:
        """Wall time at the origin."""
        if self.origin is None:
            return self.view.started
        loss = self.view.series.get("loss") or next(iter(self.view.series.values()), None)
        if loss is None:
            return self.view.started
        at = bisect_right(array("d", loss.steps), self.origin)
        walls = array("d", loss.walls)
        return walls[min(at, len(walls) - 1)] if walls else self.view.started

    def aligned(self, name: str, how: str) -> Track | None:
        """The quantity with its place on the common axis in the columns of the steps; None where it has none.

        For "loss" the place is -log10 of the best loss so far (or minus it, where one is not positive): it grows.
        """
        track = self.view.series.get(name)
        if track is None or not len(track):
            return None
        firsts, steps, walls = array("d", track.firsts), array("d", track.steps), array("d", track.walls)
        first = 0
        if self.origin is not None:
            first = bisect_right(steps, self.origin - 1)  # after a resume they are not sorted: near enough
        if how == "step":
            offset = float(self.origin or 0)
            places, begins = [step - offset for step in steps], [max(step - offset, 0.0) for step in firsts]
        elif how == "time":
            began = self.began
            places = [wall - began for wall in walls]
            begins = places
        else:
            reached = self._reached()
            if reached is None:
                return None
            known, best = reached
            places = [best[max(bisect_right(known, step) - 1, 0)] for step in steps]
            begins = places
        return track.moved(array("d", begins).tobytes(), array("d", places).tobytes(), first)

    def course(self, how: str) -> tuple[Sequence[float], list[float]]:
        """Steps of the whole run, and how far it had come by each on the common axis, which never goes back."""
        if how == "loss":
            return self._reached() or ((), [])
        track = self.view.series.get("loss") or next(iter(self.view.series.values()), None)
        if track is None:
            return (), []
        steps = array("d", track.steps)
        places = steps if how == "step" else [wall - self.began for wall in array("d", track.walls)]
        return steps, list(accumulate(places, max))

    def _reached(self) -> tuple[array[float], list[float]] | None:
        """Steps, and how far the loss had fallen by each."""
        loss = self.view.series.get("loss")
        if loss is None:
            return None
        steps = array("d", loss.steps)
        counts, totals = array("q", loss.counts), array("d", loss.totals)
        means = [total / count if count else math.inf for total, count in zip(totals, counts, strict=True)]
        finite = [mean for mean in means if math.isfinite(mean)]
        if not finite:
            return None
        positive = min(finite) > 0
        best, reached = math.inf, []
        for mean in means:
            best = min(best, mean)
            reached.append((-math.log10(best) if positive else -best) if math.isfinite(best) else -math.inf)
        return steps, reached

    @property
    def step(self) -> int:
        """The origin, or the last step."""
        return self.view.step if self.origin is None else self.origin

    def value(self, name: str, at: int | None = None) -> Track:
        """The quantity, with the value, error and step that it had at this step, else at the origin, else has now."""
        track = self.view.series.get(name)
        if track is None:
            return Track(name)
        at = self.origin if at is None else at
        if at is None or at >= track.step:
            return track
        return read(track, at) if at >= next(iter(track.buckets.real(0)), 0.0) else Track(name)

    @property
    def spectrum(self) -> Curvature | None:
        """The last measurement with a log-volume, at the origin or now."""
        known = [item for item in self.view.spectra if item.log_volume is not None]
        if self.origin is not None:
            known = [item for item in known if item.step <= self.origin]
        return known[-1] if known else None


def sides_of(feeds: Sequence[Feed]) -> list[Side]:
    """Whole runs by their names; those of one name with their ids, and copies of one run by number."""
    names = [called(feed.view) for feed in feeds]
    ids = [feed.view.header.run[:8] for feed in feeds]
    labels = [
        f"{name} {run}" if names.count(name) > 1 else name for name, run in zip(names, ids, strict=True)
    ]
    labels = [
        f"{label} ({labels[: place + 1].count(label)})" if labels.count(label) > 1 else label
        for place, label in enumerate(labels)
    ]
    return [
        Side(label, feed.view, state=feed.link.phase.replace("replay", ""))
        for label, feed in zip(labels, feeds, strict=True)
    ]


def meeting(first: Side, second: Side, how: str) -> tuple[int, int] | None:
    """The steps of two whole runs at the last place on the common axis to which both came; None where there is none."""
    if how == "step":
        common = min(first.step, second.step)
        return common, common
    courses = [side.course(how) for side in (first, second)]
    if not all(places for _, places in courses):
        return None
    last = min(places[-1] for _, places in courses)
    # A loss is compared where it was reached first, a time where it was over.
    found = [
        steps[bisect_left(places, last) if how == "loss" else max(bisect_right(places, last) - 1, 0)]
        for steps, places in courses
    ]
    return int(found[0]), int(found[1])


def called(view: View) -> str:
    return view.header.name or view.header.run or "a run"


def volume_change(before: Side, after: Side) -> tuple[Change | None, str]:
    """How much wider the valley of ``after`` is, in nats, with the steps in words; or why that cannot be said."""
    one, two = before.spectrum, after.spectrum
    if one is None or two is None:
        lacking = before if one is None else after
        return None, f'no log-volume of {lacking.label}: it needs sensors="full" and budget'
    try:
        return change(one, two), f"steps {one.step} and {two.step}"
    except UsageError as error:
        return None, str(error)


def doubtful(found: Change) -> str:
    """What must be added in words where a change might as well be none."""
    sure = not found.value or abs(found.value) > 2 * found.se
    return "" if sure else ", which its error does not tell from none"


def common_names(sides: Sequence[Side]) -> list[str]:
    """Quantities that at least two sides have, else those of any, in the order in which they came."""
    counts: dict[str, int] = {}
    for side in sides:
        for name in side.view.series:
            counts[name] = counts.get(name, 0) + 1
    return [name for name, count in counts.items() if count >= min(2, len(sides))]
