"""Between the source and the eye: drains, folds, pauses, seeks. Knows no widget and no terminal."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import cast

from lsmon.protocol.errors import LsmonError
from lsmon.protocol.frames import Alert, Scalars
from lsmon.protocol.recording.ending import ending, written
from lsmon.protocol.sources.source import Link, Seekable, Source, Timeline

from .format import age
from .free_memory import give_back
from .news import News
from .notes import Notes
from .store import Store
from .view import EMPTY, View

READ_SECS = 0.05
"""Of each tick, at most: half of the tenth of a second that a tick lasts, so that keys stay quick."""
READ_FRAMES = 1000
"""At a time: they fold in some 10 ms, and then the clock is looked at again."""
TRIM_SECS = 60.0
"""Between two times that free memory is given back."""
SPEEDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_SILENT = ("stale", "dead")


class Feed:
    """Holds the source, the store and what is shown of it."""

    def __init__(
        self,
        source: Source,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_news: Callable[[Alert], object] = lambda alert: None,
    ) -> None:
        """``on_news`` hears of the alerts that are news, silence among them; of a replay none is."""
        self.source = source
        self.view: View = EMPTY
        """What the eye sees; stands still while paused."""
        self.newest: View = EMPTY
        """What has been folded; goes on while paused."""
        self.link: Link = source.link
        self.behind = True
        """More of what the source knows already is still to be read."""
        self.frozen = False
        """The eye is paused on a source that goes on."""
        self.silences: tuple[Alert, ...] = ()
        """Alerts of the viewer's own: the link went silent."""
        self.notes = Notes()
        """Of the person; the same on every screen over this run."""
        self.trouble = ""
        """The sentence with which the source gave up, if it did."""
        self._clock = clock
        self._trim_at = clock() + TRIM_SECS
        self._store = Store()
        self._news = News()
        self._on_news = on_news
        self._fresh: list[Alert] = []
        self._unseen = False
        self._heard: float | None = None
        self.seekable: Seekable | None = None
        if hasattr(source, "seek"):
            import numpy  # noqa: F401  a seek needs it, and should not wait for it

            self.seekable = cast("Seekable", source)

    @property
    def place(self) -> str:
        """Where the run is, as the person calls it; empty for this machine."""
        return getattr(self.source, "place", "")

    @property
    def timeline(self) -> Timeline | None:
        return self.seekable.timeline if self.seekable is not None else None

    @property
    def age(self) -> float | None:
        """Seconds since the last frame came, by the viewer's own clock; None before the first."""
        return None if self._heard is None else self._clock() - self._heard

    @property
    def vain(self) -> bool:
        """Nothing came, and nothing will: there is no such run, or no way to it. ``trouble`` says why."""
        return bool(self.trouble) and self._heard is None

    @property
    def paused(self) -> bool:
        timeline = self.timeline
        return self.frozen if timeline is None else not timeline.playing

    def tick(self, budget_secs: float = READ_SECS) -> None:
        """Read and fold what has come, within the budget, and renew the view unless the eye is paused."""
        self._drain(budget_secs)
        if self._unseen:
            self.newest = self._store.view()
            self._unseen = False
        if self._clock() >= self._trim_at:
            self._trim_at = self._clock() + TRIM_SECS
            give_back()
        self._hear_silence()
        fresh, self._fresh = self._fresh, []
        for alert in fresh if self.seekable is None else ():
            self._on_news(alert)
        if not self.frozen:
            self.view = self.newest

    @property
    def own(self) -> tuple[Alert, ...]:
        """The viewer's own alerts: silences, and how the training failed, for which one line is too short."""
        view = self.view
        if not view.ended or ending(written(view.end)) != "failed":
            return self.silences
        failure = Alert(
            kind="training_failed", severity="critical", step=view.step, onset_step=view.step, confidence=1.0,
            wall=view.end.wall, message=view.end.error,
        )  # fmt: skip
        return (*self.silences, failure)

    def _drain(self, budget_secs: float) -> None:
        until = self._clock() + budget_secs
        try:
            while True:
                frames = self.source.read(READ_FRAMES, max(until - self._clock(), 0.005))
                self._store.fold_all(frames)
                if self.seekable is None:
                    for frame in frames:
                        if not isinstance(frame, Scalars):  # as nearly all are
                            self._fresh += self._news.see(frame)
                if frames:
                    self._heard = self._clock()
                    self._unseen = True
                drained = not frames or (self.seekable is None and len(frames) < READ_FRAMES)
                if drained or self._clock() >= until:
                    break  # what has come meanwhile is for the next tick
            self.link = self.source.link
            self.behind = not drained or self.link.behind
        except LsmonError as error:
            self.trouble = str(error)
            self.link = Link("dead", self.trouble, self.link.lost)

    def _hear_silence(self) -> None:
        before = self.silences[-1] if self.silences else None
        if self.link.phase not in _SILENT or (self._heard is None and not self.trouble):
            if before is not None and before.confidence is None:
                # It spoke again: the alert stays, closed, so that the next silence is a new one.
                closed = Alert(
                    kind="silent", severity="info", step=before.step, onset_step=before.step, confidence=1.0,
                    message="The training was silent for a while after this step, and then spoke again.",
                )  # fmt: skip
                self.silences = (*self.silences[:-1], closed)
            return
        severity = "critical" if self.link.phase == "dead" else "warning"
        step = self.newest.step
        if before is not None and before.confidence is None and before.severity == severity:
            return
        kept = self.silences[:-1] if before is not None and before.confidence is None else self.silences
        words = self.link.words or (
            "The training process is gone."
            if severity == "critical"
            else f"No frame for {age(self.age or 0.0)}: it is busy, stopped or out of reach."
        )
        alert = Alert(kind="silent", severity=severity, step=step, onset_step=step, message=words)  # type: ignore[arg-type]
        self.silences = (*kept[-9:], alert)
        self._fresh.append(alert)

    # What keys do.

    def toggle_pause(self) -> None:
        """Live: freeze the eye, never the feed. Replay: play or pause."""
        timeline = self.timeline
        if self.seekable is None or timeline is None:
            self.frozen = not self.frozen
        elif timeline.at_end:
            self.seek(timeline.first_step)
            self.seekable.play(True)
        else:
            self.seekable.play(not timeline.playing)

    def seek(self, step: int) -> None:
        timeline = self.timeline
        if self.seekable is None or timeline is None:
            return
        self.seekable.seek(min(max(step, timeline.first_step), timeline.last_step))
        self._begin_anew()

    def seek_end(self) -> None:
        """To the last frame; after a resume that is not the one of the highest step."""
        if self.seekable is not None:
            self.seekable.seek_end()
            self._begin_anew()

    def seek_last(self) -> None:
        """The whole recording at once, standing still."""
        if self.seekable is not None:
            self.seekable.play(False)
            self.seek_end()

    def _begin_anew(self) -> None:
        self._store = Store()
        self._unseen = True

    def seek_by(self, share: float) -> None:
        """Forward or back by a share of the recording, at least one step."""
        timeline = self.timeline
        if timeline is not None:
            jump = max(1, round(abs(share) * (timeline.last_step - timeline.first_step)))
            self.seek(timeline.step + (jump if share > 0 else -jump))

    def frame_by(self, direction: int) -> None:
        """One frame forward, or back to the step before; playing stops."""
        if self.seekable is None:
            return
        self.seekable.play(False)
        if direction > 0:
            self.seekable.advance(1)
        else:
            self.seek(self.newest.step - 1)

    def faster(self, direction: int) -> None:
        timeline = self.timeline
        if self.seekable is None or timeline is None:
            return
        if direction > 0:
            at = min(bisect_right(SPEEDS, timeline.speed), len(SPEEDS) - 1)
        else:
            at = max(bisect_left(SPEEDS, timeline.speed) - 1, 0)
        self.seekable.set_speed(SPEEDS[at])

    def seek_alert(self, direction: int) -> bool:
        """To the next or the previous alert; whether there was one."""
        timeline = self.timeline
        if timeline is None or (timeline.at_end and direction > 0):
            return False
        steps = timeline.alerts
        here = timeline.step
        wanted = [step for step in steps if (step > here if direction > 0 else step < here)]
        if wanted:
            self.seek(wanted[0] if direction > 0 else wanted[-1])
        return bool(wanted)
