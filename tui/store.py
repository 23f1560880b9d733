"""Folds frames into what the screen shows, in memory that does not grow with the run."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from itertools import groupby
from typing import cast

from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Layers,
    Mark,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)
from lsmon.protocol.names import MOST_NAMES, admitted, scalars
from lsmon.protocol.thinned import Thinned

from .examples import with_examples
from .reached import Reached
from .series import CAP, Series, Stretch
from .view import EMPTY, View

FULL_SERIES = 64
"""So many series get the full number of buckets, later ones an eighth: 45 MB at worst together."""
MAX_EVENTS = 1000
MAX_PAST = 160
"""Spectra and layers that are kept over time, each: about a column of a heat map, 2 MB at the usual 200 points."""


class Store:
    """Takes every frame once, in order; gives a View that depends on nothing else."""

    def __init__(self) -> None:
        self._header = EMPTY.header
        self._heartbeat = EMPTY.heartbeat
        self._curvature = EMPTY.curvature
        self._end = EMPTY.end
        self._spectrum, self._layers, self._layer_sharpness = (
            EMPTY.spectrum,
            EMPTY.layers,
            EMPTY.layer_sharpness,
        )
        self._ended = False
        self._dropped = 0
        self._reached = Reached()
        self._series: dict[str, Series] = {}
        self._refused: set[str] = set()
        self._alerts: deque[Alert] = deque(maxlen=MAX_EVENTS)
        self._marks: deque[Mark] = deque(maxlen=MAX_EVENTS)
        self._spectra = Thinned[Curvature](MAX_PAST)
        self._scales, self._sharpnesses = Thinned[Layers](MAX_PAST), Thinned[Layers](MAX_PAST)

    def fold_all(self, frames: Iterable[AnyFrame]) -> None:
        """The same as folding each, quicker where frames of one kind follow each other."""
        for kind, some in groupby(frames, _kind):
            alike = list(some)
            if kind is None or len(alike) == 1:
                for frame in alike:
                    self.fold(frame)
                continue
            attempt, names = kind
            if names is None:
                self._fold_rows(cast("list[Summary]", alike), attempt)
                continue
            steps, walls = [frame.step for frame in alike], [frame.wall for frame in alike]
            if steps != sorted(steps):
                for frame in alike:
                    self.fold(frame)
                continue
            self._reached.add_all(alike, steps, walls)
            columns = zip(*[cast("Scalars", frame).values.values() for frame in alike], strict=True)
            for name, values in zip(names, columns, strict=True):
                series = self._series.get(name) or self._opened(name)
                if series is not None:
                    series.add_all(steps, walls, attempt, values)

    def _fold_rows(self, rows: list[Summary], attempt: int) -> None:
        stretches: dict[str, list[Stretch]] = {}
        for row in rows:
            self._reached.add(row)
            first, step, wall = row.first_step, row.step, row.wall
            for name, folded in row.series.items():
                begins, ends = row.measured.get(name, (first, step))
                stretches.setdefault(name, []).append((begins, ends, wall, folded))
        for name, some in stretches.items():
            series = self._series.get(name) or self._opened(name)
            if series is not None:
                series.add_all_folded(some, attempt)

    def fold(self, frame: AnyFrame) -> None:
        """Add one frame, or one Summary in place of the frames that it folds."""
        if isinstance(frame, Scalars):  # as nearly all are
            self._reached.add(frame)
            self._add(frame)
            return
        if isinstance(frame, Heartbeat):
            self._heartbeat = frame
            self._dropped = max(self._dropped, frame.dropped)
            self._add(frame)
            return
        counted = (
            0 < frame.seq <= self._reached.seq
        )  # a copy of what a Summary has brought: it is state, its values are in
        self._reached.add(frame)
        if isinstance(frame, Summary):
            for name, row in frame.series.items():
                series = self._series.get(name) or self._opened(name)
                if series is not None:
                    begins, ends = frame.measured.get(name, (frame.first_step, frame.step))
                    series.add_folded(begins, ends, frame.wall, frame.attempt, row)
        elif isinstance(frame, Curvature):
            if frame.density_grid:
                self._spectrum = frame
                self._spectra.append(frame)
            if (
                frame.bottom or not self._curvature.bottom
            ):  # the sharpness alone is measured more often than both ends
                self._curvature = frame
            if not counted:
                self._add(frame)
        elif isinstance(frame, Layers):
            if "hessian/max" in frame.values:
                self._layer_sharpness = frame
                self._sharpnesses.append(frame)
            else:
                self._layers = frame
                self._scales.append(frame)
        elif isinstance(frame, RunStarted):
            self._header = frame
            self._ended = False
        elif isinstance(frame, Alert):
            self._alerts.append(frame)
        elif isinstance(frame, Mark):
            self._marks.append(frame)
        elif isinstance(frame, RunEnded):
            self._end, self._ended = frame, True
            self._dropped = max(self._dropped, frame.dropped)

    def view(self) -> View:
        reached = self._reached
        return View(
            header=self._header, seq=reached.seq, step=reached.step, first_step=reached.first_step,
            attempt=reached.attempt, started=reached.started, wall=max(reached.wall, self._heartbeat.wall),
            rate=0.0 if self._heartbeat.idle or self._header.untimed else self._heartbeat.rate or reached.rate,
            lost=reached.lost, lost_step=reached.lost_step, dropped=self._dropped, heartbeat=self._heartbeat,
            curvature=self._curvature, series={name: series.track() for name, series in self._series.items()},
            refused=len(self._refused), alerts=tuple(self._alerts), marks=tuple(self._marks),
            ended=self._ended, end=self._end, spectrum=self._spectrum, layers=self._layers,
            layer_sharpness=self._layer_sharpness, spectra=self._spectra.items(),
            layer_past=(*self._scales.items(), *self._sharpnesses.items()),
        )  # fmt: skip

    def _add(self, frame: Scalars | Curvature | Heartbeat) -> None:
        values, errors = scalars(frame)
        words = frame.words if isinstance(frame, Scalars) else _doubts(frame)
        for name, value in values.items():
            series = self._series.get(name) or self._opened(name)
            if series is not None:
                error, said = errors.get(name, math.nan), words.get(name, "")
                series.add(frame.step, frame.wall, frame.attempt, value, error, said)

    def _opened(self, name: str) -> Series | None:
        """A series for a new name, or none when there are too many."""
        count = len(self._series)
        if not admitted(name, (), count):
            if len(self._refused) < MOST_NAMES:
                self._refused.add(name)
            return None
        series = self._series[name] = Series(name, CAP if count < FULL_SERIES else CAP // 8)
        return series


def _kind(frame: AnyFrame) -> tuple[int, tuple[str, ...] | None] | None:
    """Attempt and names of a frame that has nothing but values, attempt alone of folded ones; None of any other."""
    if isinstance(frame, Scalars) and not frame.errors and not frame.words:
        return frame.attempt, tuple(frame.values)
    if isinstance(frame, Summary):
        return frame.attempt, None
    return None


def _doubts(frame: Curvature | Heartbeat) -> dict[str, str]:
    """The words for what Lanczos did not finish, and for what the sharpness was measured on."""
    if isinstance(frame, Heartbeat):
        return {}
    said = [note for note in with_examples(frame) if not note.startswith("λ_")]
    words = {"hessian/max": said, "hessian/min": list[str]()}
    for name, ritz in (("hessian/max", frame.top), ("hessian/min", frame.bottom)):
        if ritz and not ritz[0].converged:
            words[name][1:1] = ["not converged"]
    return {name: "; ".join(parts) for name, parts in words.items()}
