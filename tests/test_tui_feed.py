"""Between source and eye: pausing, silence, seeking, speed, trouble. No widget, no terminal, a clock turned by hand."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest

from lsmon.protocol.errors import Unreachable
from lsmon.protocol.frames import Alert, AnyFrame, Heartbeat, Scalars
from lsmon.protocol.sources.source import Link
from lsmon.tui.feed import SPEEDS, Feed
from lsmon.tui.free_memory import give_back
from lsmon.tui.store import Store
from tests.bench.story import Tape, Told, frames, header


def loss(seq: int) -> Scalars:
    return Scalars(seq=seq, step=seq, wall=float(seq), values={"loss": 1.0})


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pause_freezes_the_eye_and_not_the_feed() -> None:
    """While paused frames are read and folded; the view stays; afterwards it is up to date at once."""
    source = Told([header(), loss(2)])
    feed = Feed(source)
    feed.tick()
    feed.toggle_pause()
    held = feed.view
    source.tell(loss(3), loss(4))
    feed.tick()
    assert feed.paused
    assert feed.view is held
    assert feed.newest.step == 4
    feed.toggle_pause()
    feed.tick()
    assert feed.view.step == 4


def test_silence_is_an_alert_in_words() -> None:
    """Stale, then dead: one alert each time, the second in place of the first; speaking again closes it."""
    source = Told([header(), loss(2)])
    feed = Feed(source, clock=Clock())
    feed.tick()
    assert list(feed.silences) == []
    source.link = Link("stale")
    feed.tick()
    feed.tick()
    assert [(alert.kind, alert.severity, alert.step) for alert in feed.silences] == [("silent", "warning", 2)]
    source.link = Link("dead")
    feed.tick()
    assert [alert.severity for alert in feed.silences] == ["critical"]
    assert "gone" in feed.silences[0].message
    source.link = Link("live")
    feed.tick()
    source.link = Link("stale")
    feed.tick()
    assert [alert.severity for alert in feed.silences] == ["info", "warning"]


def test_the_age_is_that_of_the_last_frame() -> None:
    """By the viewer's own clock, whatever the other host thinks the time is."""
    clock = Clock()
    feed = Feed(Told([header()]), clock=clock)
    assert feed.age is None
    feed.tick()
    clock.now += 4.0
    feed.tick()
    assert feed.age == 4.0


def test_a_source_that_gives_up_leaves_its_sentence() -> None:
    """The sentence goes to the status line, what was folded stays, and nothing is raised."""

    class Broken(Told):
        def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
            given = super().read(max_items, max_secs)
            if not given:
                raise Unreachable("The host does not answer: check its name, box-3.")
            return given

    feed = Feed(Broken([header(), loss(2)]))
    feed.tick()
    feed.tick()
    assert feed.trouble == "The host does not answer: check its name, box-3."
    assert feed.link.phase == "dead"
    assert feed.view.step == 2


def test_a_seek_shows_what_folding_up_to_that_step_shows() -> None:
    """Back and forth through a tape, the view is always that of the frames up to there."""
    tape = Tape(frames(3000))
    feed = Feed(tape)
    feed.tick(1.0)
    for step in (1500, 200, 2800):
        feed.seek(step)
        feed.tick(1.0)
        store = Store()
        for frame in tape.frames:
            if frame.step <= step:
                store.fold(frame)
        assert feed.view == store.view()


def test_a_seek_is_shown_whole_by_the_next_tick() -> None:
    """However little time that has: no flash of a half-filled screen, and no old picture."""
    tape = Tape(frames(9000))
    feed = Feed(tape)
    feed.tick(1.0)
    feed.seek(8000)
    feed.tick(0.0)
    assert feed.view.step == 8000
    assert sum(array("q", feed.view.series["loss"].counts)) == 801


def test_at_the_end_there_is_no_alert_to_come() -> None:
    """Though a former attempt had one at a later step: the person is told so, where nothing happened."""
    tape = Tape(frames(41_200), step=41_200)
    feed = Feed(tape)
    feed.tick(2.0)
    timeline = tape.timeline
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tape, "timeline", property(lambda _: replace(timeline, at_end=True, alerts=(50_000,))))
        assert not feed.seek_alert(1)
        assert not feed.seek_alert(-1)


def test_seeks_by_share_by_frame_and_by_alert() -> None:
    """All the ways to move, none beyond the ends."""
    feed = Feed(Tape(frames(41_200), step=20_000))
    feed.tick(2.0)

    def step() -> int:
        feed.tick(2.0)
        return feed.view.step

    feed.seek_by(0.01)
    assert step() == 20_410
    feed.seek_by(-1.0)
    assert step() == 0
    feed.seek_by(2.0)
    assert step() == 41_200
    feed.frame_by(-1)
    assert step() == 41_190
    feed.frame_by(1)
    assert step() == 41_200
    assert feed.seek_alert(-1)
    assert step() == 30_180
    assert feed.seek_alert(-1)
    assert step() == 21_300
    assert feed.seek_alert(1)
    assert step() == 30_180
    assert not feed.seek_alert(1)


def test_speed_goes_through_its_steps_and_stops_at_the_ends() -> None:
    """0.1 to 1000."""
    tape = Tape(frames(100))
    feed = Feed(tape)
    for _ in range(20):
        feed.faster(1)
    assert tape.speed == SPEEDS[-1] == 1000
    for _ in range(20):
        feed.faster(-1)
    assert tape.speed == SPEEDS[0] == pytest.approx(0.1)


def test_space_on_a_replay_plays_and_at_its_end_starts_over() -> None:
    """The eye is not frozen; the tape is."""
    tape = Tape(frames(100))
    feed = Feed(tape)
    feed.toggle_pause()
    assert tape.playing
    assert tape.timeline.step == 0
    feed.toggle_pause()
    assert not tape.playing
    assert not feed.frozen


def test_a_source_that_gave_up_before_it_began_says_why_among_the_alerts() -> None:
    """The status line has no room for a sentence with a remedy."""

    class Hopeless(Told):
        def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
            raise Unreachable("lsmon is not installed there; install it.")

    feed = Feed(Hopeless([]))
    feed.tick()
    feed.tick()
    assert [alert.message for alert in feed.silences] == ["lsmon is not installed there; install it."]


def test_only_what_is_news_is_passed_on_and_of_a_replay_nothing() -> None:
    """Alerts of the last minute before the first heartbeat and those after it; and silence, which the viewer hears."""

    def alert(seq: int, wall: float) -> Alert:
        return Alert(seq=seq, step=seq, wall=header().wall + wall, kind=f"kind {seq}")

    story: list[AnyFrame] = [
        header(),
        alert(2, 10.0),
        alert(3, 950.0),
        Heartbeat(seq=3, wall=header().wall + 1000),
        alert(4, 1001.0),
    ]
    told: list[str] = []
    source = Told(story)
    feed = Feed(source, clock=Clock(), on_news=lambda news: told.append(news.kind))
    feed.tick()
    source.link = Link("stale")
    feed.tick()
    feed.tick()
    assert told == ["kind 3", "kind 4", "silent"]
    told.clear()
    Feed(Tape(story), clock=Clock(), on_news=lambda news: told.append(news.kind)).tick()
    assert told == []


def test_free_memory_is_given_back_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while the first paint is waited for, and not at every tick."""
    times: list[float] = []
    clock = Clock()
    monkeypatch.setattr("lsmon.tui.feed.give_back", lambda: times.append(clock.now))
    feed = Feed(Told(), clock=clock)
    while clock.now < 300.0:
        feed.tick()
        clock.now += 1.0
    assert times == [160.0, 220.0, 280.0]
    give_back()  # whatever the system
