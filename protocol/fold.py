"""Folding a stretch of frames into one Summary: minimum, maximum, mean and last of every series."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping

from .codec import shorten
from .frames import UNNUMBERED, AnyFrame, Curvature, Summary
from .names import admitted, scalars

LEVELS = (64, 4096)
"""Frames a row. 10 million frames make 160 000 and 2 400 rows, which read in 1.6 s and 25 ms."""


class Fold:
    """Takes frames (or finer summaries) one by one and gives a Summary for every ``level`` frames."""

    def __init__(self, level: int) -> None:
        self.level = level
        self._names: set[str] = set()
        # Name → attempt and step of the newest measurement.
        self._newest: dict[str, tuple[int, int]] = {}
        self._clear()

    def _clear(self) -> None:
        self._count = 0
        self._first: AnyFrame | None = None
        self._last: AnyFrame | None = None
        self._step = 0
        self._series: dict[str, list[float]] = {}  # name → n, min, max, mean, last, nonfinite
        self._measured: dict[str, tuple[int, int]] = {}  # name → first and last step

    @property
    def empty(self) -> bool:
        """Whether nothing has been added since the last Summary."""
        return self._first is None

    def add(self, frame: AnyFrame) -> Summary | None:
        """The Summary that this frame completes, if it does. A new attempt closes the stretch before it."""
        if isinstance(frame, UNNUMBERED) and not isinstance(frame, Summary):
            return None
        closed = None
        if self._last is not None and frame.attempt != self._last.attempt:
            closed = self.close()
        self._first = self._first or frame
        self._step = frame.step if self._last is None else max(self._step, frame.step)
        self._last = frame
        if isinstance(frame, Summary):
            self._count += frame.level
            for name, (count, low, high, mean, last, odd) in frame.series.items():
                self._merge(name, count, low, high, mean, last, odd)
            for name, (first, until) in frame.measured.items():
                if self._admits(name):
                    self._place(name, first, until)
        else:
            self._count += 1
            values, errors = scalars(frame)
            if errors or isinstance(frame, Curvature):
                values = self._timely(frame, values, values if isinstance(frame, Curvature) else errors)
            for name, value in values.items():
                if math.isfinite(value):
                    self._take(name, value)
                else:
                    self._merge(name, 0, 0.0, 0.0, 0.0, 0.0, 1)
        return closed or (self.close() if self._count >= self.level else None)

    def _timely(
        self, frame: AnyFrame, values: Mapping[str, float], measured: Container[str]
    ) -> dict[str, float]:
        """A complete measurement is done long after its step, and its sharpness was told at once: where newer ones have
        come meanwhile it has no place among them, and what it has has the place of its step."""
        timely = {}
        for name, value in values.items():
            if name not in measured:
                timely[name] = value
            elif self._admits(name) and (frame.attempt, frame.step) >= self._newest.get(name, (-1, 0)):
                timely[name] = value
                self._newest[name] = frame.attempt, frame.step
                self._place(name, frame.step, frame.step)
        return timely

    def _admits(self, name: str) -> bool:
        """The first names of the run, as on a screen; what others are is in the frames."""
        names = self._names
        if not admitted(name, names, len(names)):
            return False
        names.add(name)
        return True

    def _place(self, name: str, first: int, until: int) -> None:
        before = self._measured.get(name, (first, until))
        self._measured[name] = min(first, before[0]), max(until, before[1])

    def _take(self, name: str, value: float) -> None:
        """As ``_merge`` of a single sample, which nearly all are, in half the time."""
        into = self._series.get(name)
        if into is None or not into[0]:
            self._merge(name, 1, value, value, value, value, 0)
            return
        weight = 1 / (into[0] + 1)
        into[0] += 1
        if value < into[1]:
            into[1] = value
        elif value > into[2]:
            into[2] = value
        into[3] = into[3] * (1 - weight) + value * weight
        into[4] = value

    def _merge(
        self, name: str, count: int, low: float, high: float, mean: float, last: float, odd: int
    ) -> None:
        into = self._series.get(name)
        if into is None:
            if not self._admits(name):
                return
            into = self._series[name] = [0, low, high, mean, last, 0]
        into[5] += odd
        if count <= 0:  # below, when a peer or a file says nonsense
            return
        if into[0]:
            weight = count / (into[0] + count)
            low, high = min(into[1], low), max(into[2], high)
            mean = into[3] * (1 - weight) + mean * weight  # a sum of large losses would overflow
        into[0] += count
        into[1:5] = low, high, mean, last

    def close(self) -> Summary | None:
        """The Summary of what has been added since the last one, or None when nothing has."""
        first, last = self._first, self._last
        if first is None or last is None:
            return None
        series = {
            name: (int(count), low, high, shorten(mean), value, int(odd))
            for name, (count, low, high, mean, value, odd) in self._series.items()
        }
        summary = Summary(
            seq=last.seq, step=self._step, wall=last.wall, rank=last.rank, attempt=last.attempt, level=self.level,
            first_seq=first.first_seq if isinstance(first, Summary) else first.seq,
            first_step=first.first_step if isinstance(first, Summary) else first.step,
            first_wall=first.first_wall if isinstance(first, Summary) else first.wall,
            series=series, measured=self._measured,
        )  # fmt: skip
        self._clear()
        return summary


class Folds:
    """All levels at once: frames in, the summaries that they complete out, the finer before the coarser."""

    def __init__(self) -> None:
        self._fine, self._coarse = Fold(LEVELS[0]), Fold(LEVELS[1])

    def add(self, frame: AnyFrame) -> list[Summary]:
        fine = self._fine.add(frame)
        if fine is None:
            return []
        coarse = self._coarse.add(fine)
        return [fine] if coarse is None else [fine, coarse]

    def close(self) -> list[Summary]:
        """What is left at the end of a run."""
        summaries = []
        fine = self._fine.close()
        if fine is not None:
            summaries.append(fine)
            coarse = self._coarse.add(fine)
            if coarse is not None:
                summaries.append(coarse)
        last = self._coarse.close()
        return [*summaries, last] if last is not None else summaries


def folded(frames: Iterable[AnyFrame], level: int) -> Iterator[Summary]:
    """The rows of a whole stretch, but those in which nothing was measured."""
    fold = Fold(level)
    for frame in frames:
        row = fold.add(frame)
        if row is not None and row.series:
            yield row
    row = fold.close()
    if row is not None and row.series:
        yield row
