"""A recording as a source: played at its own pace or any other, and gone to any step of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ..frames import UNNUMBERED, AnyFrame, Heartbeat
from ..recording.reader import Recording
from .seeking import Seeking
from .source import Link, Timeline

SLOWEST, FASTEST = 0.1, 1000.0

LAG_SECS = 0.2
"""When reading is further behind than this, the frames are too many for the speed asked for, and come in rows."""

FRAMES_A_SEC = 40_000
"""When more are due in a second of the clock there is no use in trying: rows alone, ..."""

FOLLOW_SECS = 0.05
"""... as often as something is so late."""

IDLE_SECS = 5.0
"""A longer silence in the record is played as this much. A living run sends a heartbeat every second, so only a
suspended or resumed one is silent; nobody watches its night."""


class Replay:
    """Plays the frames at the pace of their wall times. One thread, no waiting: ``read`` gives what is due."""

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float = 1.0,
        playing: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recording = recording
        self._seeking = Seeking(recording)
        self._clock = clock
        self._speed = min(max(speed, SLOWEST), FASTEST)
        self._playing = playing
        self._owed = 0
        """Frames asked for by ``advance``."""
        self._target: tuple[int, int] | None = None
        """Attempt, where there are several, and step to go to."""
        self._alerts: tuple[int, ...] | None = None
        self._behind = False
        """Whether the last read stopped before it had given all that was due."""
        self._skipping = False
        """Whether so many frames are due that only their rows are given."""
        header = recording.header
        self._seq, self._step, self._attempt, self._wall = 0, header.step, header.attempt, header.wall
        self._frames: Iterator[AnyFrame] = recording.frames()
        self._next: AnyFrame | None = next(self._frames, None)
        self._anchor()

    @property
    def link(self) -> Link:
        words = list(self._recording.damage)
        if self._recording.ended is None:
            words.append("ended early" if self._at_end else "the end is not recorded")
        return Link("replay", ", ".join(words), self._recording.lost)

    @property
    def timeline(self) -> Timeline:
        first, last = self._seeking.first_step, self._seeking.last_step
        if self._alerts is None:
            self._alerts = tuple(sorted(event.step for event in self._seeking.alerts))
        step = self._step if self._target is None else self._target[1]
        return Timeline(
            first_step=first, last_step=last, step=min(max(step, first), last), speed=self._speed,
            playing=self._playing, at_end=self._at_end and self._target is None, alerts=self._alerts,
        )  # fmt: skip

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        """What is due. After a seek everything that leads up to its target at once, at most some 25 000 frames."""
        if self._target is not None:
            return self._jump()
        deadline = time.monotonic() + max_secs
        frames = self._catch_up()
        while not self._skipping and self._next is not None and self._due(self._next):
            frames.append(self._next)
            self._pass(self._next)
            if len(frames) >= max_items or (len(frames) % 64 == 0 and time.monotonic() > deadline):
                self._behind = self._playing and not self._owed
                break
        return frames

    def seek(self, step: int) -> None:
        """As in ``Seekable``. Only the last of several seeks before a ``read`` is done."""
        self._aim(self._attempt, min(max(step, self._seeking.first_step), self._seeking.last_step))

    def seek_end(self) -> None:
        self._aim(*self._seeking.end)

    def play(self, playing: bool) -> None:
        self._anchor()
        self._playing = playing
        self._owed = 0

    def set_speed(self, speed: float) -> None:
        """Recorded seconds a second, kept between 0.1 and 1000."""
        self._anchor()
        self._speed = min(max(speed, SLOWEST), FASTEST)
        self._skipping = False

    def advance(self, frames: int) -> None:
        """The next ``read`` gives this many more numbered frames, whatever the time."""
        self._owed += max(frames, 0)
        self._skipping = False

    def close(self) -> None:
        self._recording.close()

    @property
    def _at_end(self) -> bool:
        return self._next is None

    def _aim(self, attempt: int, step: int) -> None:
        self._target = attempt, step
        self._owed = 0
        self._skipping = False

    def _jump(self) -> list[AnyFrame]:
        assert self._target is not None
        (attempt, step), self._target = self._target, None
        until = self._seeking.number_at(step, attempt)
        frames = self._seeking.lead_up(until)
        self._go_on_behind(frames)
        self._anchor()
        return frames

    def _catch_up(self) -> list[AnyFrame]:
        """Rows in place of the frames that reading is behind with; nothing when it keeps up."""
        behind, self._behind = self._behind or self._skipping, False
        late = (FOLLOW_SECS if self._skipping else LAG_SECS) * self._speed
        now = self._now()
        if self._next is None or self._next.wall - self._wall > IDLE_SECS:
            self._skipping = False
        if not behind or self._next is None or self._next.wall > now - late:
            return []
        frames = self._seeking.rows_until(self._seq, now)
        seq, wall = self._seq, self._wall
        if frames:
            self._go_on_behind(frames)
        self._skipping = (self._seq - seq) * self._speed > FRAMES_A_SEC * max(self._wall - wall, 1e-9)
        return frames

    def _go_on_behind(self, frames: list[AnyFrame]) -> None:
        last = max(frames, key=lambda frame: frame.seq)  # events follow the row that they fell into
        self._stand_at(last, max(frame.step for frame in frames if frame.attempt == last.attempt))
        self._frames = self._recording.frames(last.seq)
        self._next = next(self._frames, None)

    def _due(self, frame: AnyFrame) -> bool:
        if self._owed:
            return True
        if not self._playing:
            return False
        if not -1.0 <= frame.wall - self._wall <= IDLE_SECS:  # a night, or a clock that was set back
            self._anchor(min(frame.wall, max(self._now(), frame.wall - IDLE_SECS)))
            self._wall = self._anchored_wall
        return frame.wall <= self._now()

    def _pass(self, frame: AnyFrame) -> None:
        # What is measured belongs to an earlier step than the one at which it was done.
        self._stand_at(frame, max(self._step, frame.step) if frame.attempt == self._attempt else frame.step)
        if self._owed and not isinstance(frame, UNNUMBERED):
            self._owed -= 1
            self._anchor(frame.wall)
        self._next = next(self._frames, None)

    def _stand_at(self, frame: AnyFrame, step: int) -> None:
        self._wall = frame.wall
        if not isinstance(frame, Heartbeat):
            self._seq, self._step, self._attempt = frame.seq, step, frame.attempt

    def _now(self) -> float:
        """The recorded time that the clock stands for."""
        return self._anchored_wall + (self._clock() - self._anchored_clock) * self._speed

    def _anchor(self, wall: float | None = None) -> None:
        """Lets recorded time go on from here: from the frame last given, unless told otherwise."""
        self._anchored_wall = self._wall if wall is None else wall
        self._anchored_clock = self._clock()
