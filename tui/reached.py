"""How far a run has come, by the numbers, steps and times of its frames, and what is missing between them."""

from __future__ import annotations

from collections.abc import Sequence

from lsmon.protocol.frames import AnyFrame, RunEnded, RunStarted, Summary

RATE_SECS = 5.0
"""The step rate of a source without heartbeats is taken over stretches of this length."""


class Reached:
    """Takes every frame that has a number, in order; the fields mean what they mean in a View."""

    __slots__ = (
        "_anchor", "_first_step", "attempt", "lost", "lost_step", "rate", "seq", "started", "step", "wall",
    )  # fmt: skip

    def __init__(self) -> None:
        self.seq = self.step = self.lost = self.lost_step = 0
        self.attempt = 1
        self.started = self.wall = self.rate = 0.0
        self._first_step: int | None = None
        self._anchor = (0, 0.0)
        """Step and time since which the rate is taken."""

    @property
    def first_step(self) -> int:
        return self._first_step or 0

    def add(self, frame: AnyFrame) -> None:
        first, first_step, first_wall = frame.seq, frame.step, frame.wall
        if isinstance(frame, Summary):
            first, first_step, first_wall = frame.first_seq, frame.first_step, frame.first_wall
        if self.seq and first > self.seq + 1:
            self.lost += first - self.seq - 1
            self.lost_step = frame.step
        self.seq = max(self.seq, frame.seq)
        self.wall = max(self.wall, frame.wall)
        if not self.started:
            self.started = first_wall
        if not frame.step and isinstance(frame, RunStarted | RunEnded):
            return
        if frame.attempt > self.attempt:
            self.attempt, self.step, self._anchor = frame.attempt, frame.step, (0, 0.0)
        # A measurement belongs to an earlier step than the one at which it was done.
        self.step = max(self.step, frame.step)
        if self._first_step is None or first_step < self._first_step:
            self._first_step = first_step
        step, wall = self._anchor
        if not wall:
            self._anchor = (self.step, frame.wall)
        elif frame.wall - wall >= RATE_SECS:
            self.rate = (self.step - step) / (frame.wall - wall)
            self._anchor = (self.step, frame.wall)

    def add_all(self, frames: Sequence[AnyFrame], steps: Sequence[int], walls: Sequence[float]) -> None:
        """The same as adding each; they are of one attempt, and no Summary is among them."""
        self.add(frames[0])
        last = frames[-1].seq
        if last - frames[0].seq >= len(frames) or max(walls) - self._anchor[1] >= RATE_SECS:
            for frame in frames[1:]:
                self.add(frame)
            return
        self.seq, self.wall = max(self.seq, last), max(self.wall, *walls)
        self.step = max(self.step, *steps)
        self._first_step = min(steps) if self._first_step is None else min(self._first_step, *steps)
