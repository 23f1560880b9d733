"""Alerts against the truth: which were right, which were false, and what was missed."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from msgspec import structs

from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.frames import Alert, AnyFrame

from .run import Event, Run

SLACK = 0.25
"""Of an event's length: how long after its end an alert is still about it."""

MEASUREMENTS = 3
"""... and at least so many measurements: an alert cannot come sooner than the next ones."""

LEADS = {"saddle_entered"}
"""Kinds that tell of what is still to come: right when such an event follows, however long its plateau."""

MEANS = {"saddle_entered": "saddle_escape"}
"""A kind that has no truth of its own but that of another."""

NEED_CURVATURE = frozenset({"saddle_entered", "saddle_escape", "curvature_spike"})
NEED_NONE = frozenset({"plateau_left"})
"""Kinds that nobody expects without curvature, and one that nobody expects with it."""


@dataclass
class Tally:
    """Of one kind of alert over several runs."""

    right: int = 0
    false: int = 0
    missed: int = 0
    early: int = 0
    """Right ones that came before the middle of their event."""
    optional: int = 0
    """Alerts on events that are optional: neither right nor false."""
    soft_right: int = 0
    soft_missed: int = 0
    """Of the right ones and the missed ones those whose event was soft."""
    delays: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list, repr=False)
    """Where, for the person who tunes."""

    @property
    def precision(self) -> float:
        told = self.right + self.false
        return self.right / told if told else float("nan")

    @property
    def recall(self) -> float:
        there = self.right + self.missed
        return self.right / there if there else float("nan")

    @property
    def plain_recall(self) -> float:
        """Of the events that are not soft."""
        right = self.right - self.soft_right
        there = right + self.missed - self.soft_missed
        return right / there if there else float("nan")

    @property
    def median(self) -> float:
        return statistics.median(self.delays) if self.delays else float("nan")

    @property
    def late(self) -> float:
        """The 90th percentile of the delay."""
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))] if ordered else float("nan")


def watched(frames: Iterable[AnyFrame], watch: Watch | None = None) -> Iterator[Alert]:
    """The alerts of these frames, numbered as the sender numbers them."""
    watch = Watch() if watch is None else watch
    seq = 0
    for frame in frames:
        seq += 1
        for alert in watch.see(structs.replace(frame, seq=seq)):
            seq += 1
            numbered = structs.replace(alert, seq=seq)
            watch.see(numbered)
            yield numbered


def judge(
    run: Run, alerts: Iterable[Alert], tallies: dict[str, Tally], *, spacing: int = 20, curvature: bool = True
) -> int:
    """Adds this run to the tallies; the number of false alarms in it.

    ``spacing`` is how many steps lie between two measurements or evaluations, ``curvature`` whether it was measured.
    """
    by_kind: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        by_kind[alert.kind].append(alert)
    truths = {event.kind for event in run.events}
    truths |= {kind for kind, other in MEANS.items() if other in truths}
    truths -= NEED_NONE if curvature else NEED_CURVATURE
    false_alarms = 0
    for kind in sorted(by_kind.keys() | truths):
        tally = tallies[kind]
        events = [event for event in run.events if event.kind == MEANS.get(kind, kind)]
        told: set[int] = set()
        for alert in by_kind[kind]:
            match = _matching(alert, kind, events, told, spacing)
            if match is not None:
                told.add(match)
                event = events[match]
                tally.optional += event.optional
                if not event.optional:
                    tally.right += 1
                    tally.soft_right += event.soft
                    tally.delays.append(alert.step - event.step)
                    tally.early += alert.step < event.step
            elif kind in run.allowed or _excused(alert, kind, events, spacing):
                tally.optional += 1
            else:
                tally.false += 1
                false_alarms += 1
                tally.wrong.append(f"{run.name}@{alert.step}")
        for number, event in enumerate(events):
            if number not in told and not event.optional and kind not in run.allowed:
                tally.missed += 1
                tally.soft_missed += event.soft
                tally.wrong.append(f"{run.name} missed {event.onset}/{event.step}/{event.until}")
    return false_alarms


def _window(event: Event, kind: str, spacing: int) -> tuple[float, float]:
    length = max(event.until - event.onset, 1)
    after = max(SLACK * length, MEASUREMENTS * spacing)
    before = float("inf") if kind in LEADS else MEASUREMENTS * spacing
    return event.onset - before, event.until + after


def _matching(alert: Alert, kind: str, events: list[Event], told: set[int], spacing: int) -> int | None:
    """The event that this alert tells of: a plain one rather than an optional one, and the first of those left."""
    order = sorted(range(len(events)), key=lambda number: (events[number].optional, events[number].step))
    for number in order:
        low, high = _window(events[number], kind, spacing)
        if number not in told and low <= alert.step <= high:
            return number
    return None


def _excused(alert: Alert, kind: str, events: list[Event], spacing: int) -> bool:
    """A second word on an optional event is no false alarm."""
    return any(
        event.optional and _window(event, kind, spacing)[0] <= alert.step <= _window(event, kind, spacing)[1]
        for event in events
    )
