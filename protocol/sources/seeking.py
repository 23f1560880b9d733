"""Where a step lies in a recording, and which frames bring a screen to the state it had there."""

from __future__ import annotations

import heapq
from functools import cached_property
from itertools import takewhile

from ..fold import LEVELS
from ..frames import UNNUMBERED, Alert, AnyFrame, Heartbeat, Mark, Summary
from ..recording.reader import Recording

EXACT_FRAMES = 8_000
"""Up to here the frames themselves lead up to a step, so that the state is exactly what it was; they are read and folded
in a tenth of a second, and no seek takes longer."""

FINE_ROWS = 1_500
"""96 000 frames, the last stretch of a long run; what lies before comes in coarse rows, of which ten million frames have
six to a column of a wide screen. They read and fold in 50 ms."""

SKIP_FRAMES = 200_000
"""What is skipped at once when playing faster than can be read: 3000 rows, some 30 ms."""

NEAR_FRAMES = 1024
"""At least so many frames before the target come as they are."""


class Seeking:
    """Reads nothing until asked; then the overview once, and near each target a few chunks."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    @cached_property
    def _rows(self) -> list[Summary]:
        """Coarse rows from the first frame to the last."""
        return list(self._recording.summaries(LEVELS[1]))

    @cached_property
    def _events(self) -> list[Alert | Mark]:
        return list(self._recording.events())

    @property
    def alerts(self) -> list[Alert]:
        return [event for event in self._events if isinstance(event, Alert)]

    @cached_property
    def first_step(self) -> int:
        header = self._recording.header
        later = (row.first_step for row in self._rows if row.first_seq > header.seq)
        return min((self._recording.first_step, *later))

    @cached_property
    def last_step(self) -> int:
        return max((row.step for row in self._rows), default=self._recording.last_step)

    @property
    def end(self) -> tuple[int, int]:
        """The last attempt, and the step that it came to."""
        attempt = self._rows[-1].attempt if self._rows else self._recording.header.attempt
        steps = (row.step for row in self._rows if row.attempt == attempt)
        return attempt, max(steps, default=self.last_step)

    def number_at(self, step: int, attempt: int) -> int:
        """Number of the last frame before training went beyond ``step``.

        After a resume several attempts may have been at this step: ``attempt`` is preferred, the one being watched,
        then the latest.
        """
        rows = self._rows
        there = {row.attempt for row in rows if row.step >= step} & {
            row.attempt for row in rows if row.first_step <= step
        }
        chosen = attempt if attempt in there else max(there, default=attempt)
        mine = [row for row in rows if row.attempt == chosen]
        for number, row in enumerate(mine):
            if row.step > step:
                # A frame may carry the step before the one it came in, so the row before is looked at too.
                before = mine[max(number - 1, 0)].first_seq - 1
                return self._last_before(step, chosen, before, row.seq)
        return mine[-1].seq if mine and chosen != rows[-1].attempt else self._recording.last_seq

    def _last_before(self, step: int, attempt: int, after_seq: int, until_seq: int) -> int:
        """The same within ``(after_seq, until_seq]``: by fine rows first, then frame by frame."""
        start = previous = after_seq
        for row in self._recording.summaries(LEVELS[0], after_seq, until_seq):
            if row.attempt == attempt and row.step > step:
                break
            start, previous = previous, row.seq
        last = start
        for frame in self._recording.frames(start):
            if isinstance(frame, UNNUMBERED) or frame.seq <= start:
                continue
            if (frame.attempt == attempt and frame.step > step) or frame.seq > until_seq:
                break
            last = frame.seq
        return max(last, self._recording.header.seq)

    def lead_up(self, until_seq: int) -> list[AnyFrame]:
        """The header, then everything up to frame ``until_seq``: raw when it is little; else in coarse rows, fine rows,
        and raw near the end, with every alert and mark in its place, the last Curvature and Layers before, and a
        thinned past of those that are drawn over time."""
        recording = self._recording
        lead: list[AnyFrame] = [recording.header]
        rows = self._folded(until_seq)
        start = rows[-1].seq if rows else 0
        if rows:
            # Beside the coarse rows is the last of each kind there; since the last of them the frames themselves tell.
            known = max((row.seq for row in self._rows if row.seq <= start), default=0)
            beside = (*recording.past(start), *recording.states(start), *recording.measured(known, start))
            states = {(frame.seq, isinstance(frame, Heartbeat)): frame for frame in beside}
            lead += self._with_events(0, rows, [states[key] for key in sorted(states)])
        for frame in recording.frames(start):
            if frame.seq > until_seq or (frame.seq == until_seq and isinstance(frame, UNNUMBERED)):
                break
            if frame is not recording.header and not (start and frame.seq <= start):
                lead.append(frame)
        return lead

    def _folded(self, until_seq: int) -> list[Summary]:
        """The rows for what is not given raw: all but the last frames of a long stretch."""
        first = self._rows[0].first_seq if self._rows else 0
        if until_seq - first <= EXACT_FRAMES:
            return []
        start = until_seq - NEAR_FRAMES
        near = max((row.seq for row in self._rows if row.seq <= start - FINE_ROWS * LEVELS[0]), default=0)
        coarse = [row for row in self._rows if row.seq <= near]
        return [*coarse, *self._recording.summaries(LEVELS[0], near, start)]

    def rows_until(self, after_seq: int, wall: float) -> list[AnyFrame]:
        """Fine rows behind this number that ended before this time, with the events among them; a bounded stretch."""
        stretch = self._recording.summaries(LEVELS[0], after_seq, after_seq + SKIP_FRAMES)
        rows = list(takewhile(lambda row: row.wall <= wall, stretch))
        if not rows:
            return []
        known = self._recording.states(rows[-1].seq)
        return self._with_events(after_seq, rows, [state for state in known if state.seq > after_seq])

    def _with_events(self, after_seq: int, rows: list[Summary], states: list[AnyFrame]) -> list[AnyFrame]:
        """The rows, each followed by its alerts and marks, and by those states that fell into it."""
        events = [event for event in self._events if after_seq < event.seq <= rows[-1].seq]
        return list(heapq.merge(rows, events, states, key=_begins))


def _begins(frame: AnyFrame) -> int:
    return frame.first_seq if isinstance(frame, Summary) else frame.seq
