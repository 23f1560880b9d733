"""Replay and the synthetic source: pace, seeking, attempts, and what the link says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Layers,
    Mark,
    Ritz,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)
from lsmon.protocol.recording import overview
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.record import record
from lsmon.protocol.sources import seeking
from lsmon.protocol.sources.replay import IDLE_SECS, Replay
from lsmon.protocol.sources.source import Link, Seekable, Source
from lsmon.protocol.sources.synthetic import Synthetic, numbered
from tests.clock import Clock

HEADER = RunStarted(seq=1, run="r1", name="a run", wall=1000.0)


@pytest.fixture
def clock() -> Clock:
    return Clock(50.0)


def steps(first: int, last: int, *, attempt: int = 1, rate: float = 10.0) -> Iterator[Scalars]:
    for step in range(first, last + 1):
        yield Scalars(step=step, attempt=attempt, wall=1000.0 + step / rate, values={"loss": float(step)})


def story() -> list[AnyFrame]:
    """Ten seconds of training, ten steps a second, with a bit of everything."""
    frames: list[AnyFrame] = [HEADER]
    for scalars in steps(1, 100):
        frames.append(scalars)
        if scalars.step == 33:
            frames.append(Alert(step=33, wall=scalars.wall + 0.01, kind="loss_spike"))
        if scalars.step == 50:
            frames.append(Mark(step=50, wall=scalars.wall + 0.01, note="here"))
        if scalars.step % 10 == 0:
            frames.append(Heartbeat(step=scalars.step, wall=scalars.wall + 0.01, rate=10.0))
        if scalars.step % 25 == 0:
            frames.append(
                Curvature(step=scalars.step, wall=scalars.wall + 0.02, top=(Ritz(scalars.step, 0.1),))
            )
    frames.append(RunEnded(step=100, wall=1010.5))
    return list(numbered(frames))


Make = Callable[..., Replay]


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    """Records frames and opens them for replay; closes everything afterwards."""
    made: list[Replay] = []

    def make(frames: list[AnyFrame], **options: Any) -> Replay:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        header = frames[0]
        assert isinstance(header, RunStarted)
        record(folder, header, frames[1:])
        made.append(Replay(Recording.open(folder), clock=clock, **options))
        return made[-1]

    yield make
    for replay in made:
        replay.close()


def all_of(source: Source) -> list[AnyFrame]:
    frames: list[AnyFrame] = []
    while new := source.read(max_secs=10.0):
        frames += new
    return frames


def test_frames_come_at_the_pace_at_which_they_were_recorded(make: Make, clock: Clock) -> None:
    """Nothing before its time, everything that is due, at 1 and at 10 times."""
    frames = story()
    replay: Seekable = make(frames)
    assert replay.read() == frames[:1]
    clock.now += 2.05
    assert [frame.step for frame in replay.read() if isinstance(frame, Scalars)] == list(range(1, 21))
    assert replay.read() == []
    replay.set_speed(10.0)
    clock.now += 0.5
    assert replay.read()[-1].step == 70
    clock.now += 1.0
    replay.read()
    assert replay.timeline.at_end and replay.timeline.step == 100


def test_played_fast_enough_it_is_the_whole_record(make: Make, clock: Clock) -> None:
    """Every frame once, in order, whatever the limits of a read."""
    frames = story()
    replay = make(frames, speed=1000.0)
    got: list[AnyFrame] = []
    for _ in range(1000):
        clock.now += 0.01
        got += replay.read(max_items=7)
    assert got == frames


def test_speed_is_kept_within_bounds(make: Make) -> None:
    """0.1 to 1000 times."""
    replay = make(story(), speed=1e9)
    assert replay.timeline.speed == 1000.0
    replay.set_speed(0.0)
    assert replay.timeline.speed == 0.1


def test_a_pause_holds_and_the_time_paused_is_not_made_up_for(make: Make, clock: Clock) -> None:
    """After an hour of pause the next frame comes when it would have come."""
    replay = make(story())
    clock.now += 1.0
    replay.read()
    replay.play(False)
    clock.now += 3600.0
    assert replay.read() == [] and not replay.timeline.playing
    replay.play(True)
    assert replay.read() == []
    clock.now += 0.25
    assert [frame.step for frame in replay.read() if isinstance(frame, Scalars)] == [11, 12]


def test_a_night_in_the_record_is_not_waited_for(make: Make, clock: Clock) -> None:
    """A silence longer than five seconds is played as five; a clock that was set back is played on at once."""
    walls = [1000.0, 1001.0, 40_000.0, 40_001.0, 500.0, 500.5]
    frames = [HEADER, *(Scalars(seq=n, step=n, wall=wall) for n, wall in enumerate(walls, start=2))]
    replay = make(frames)
    clock.now += 1.0
    assert len(replay.read()) == 3
    clock.now += 1.0
    assert replay.read() == []
    clock.now += IDLE_SECS - 1.0
    assert [frame.step for frame in replay.read()] == [4]
    clock.now += 1.0
    assert [frame.step for frame in replay.read()] == [5, 6]
    clock.now += 0.5
    assert [frame.step for frame in replay.read()] == [7]


@pytest.mark.parametrize("step", [0, 1, 24, 25, 33, 50, 51, 99, 100, 10_000])
def test_a_seek_gives_exactly_the_frames_that_had_been_seen_at_that_step(make: Make, step: int) -> None:
    """In a small recording: the prefix of the record up to the last frame of that step, and then the rest."""
    frames = story()
    replay = make(frames, playing=False)
    replay.seek(step)
    target = min(max(step, 1), 100)
    seen = replay.read()
    last = max(
        n for n, frame in enumerate(frames) if frame.step <= target and not isinstance(frame, Heartbeat)
    )
    assert seen == frames[: last + 1]
    assert replay.timeline.step == target
    replay.advance(1000)
    assert seen + all_of(replay) == frames


def test_a_measurement_of_an_earlier_step_does_not_take_the_replay_back(make: Make, clock: Clock) -> None:
    """Played, and sought: the alert that it raises is of the step that the training had reached."""
    complete = Curvature(step=40, wall=1008.0, top=(Ritz(3.0, 0.1),), bottom=(Ritz(-1.0, 0.1),))
    alert = Alert(step=80, wall=1008.0, kind="saddle_escape")
    last = RunEnded(step=100, wall=1010.5)
    ratio = Scalars(step=40, wall=1008.0, values={"stability/ratio": 0.5})
    frames = list(numbered([HEADER, *steps(1, 80), complete, alert, ratio, *steps(81, 100), last]))
    replay = make(frames)
    for step in (80, 100, 80):
        replay.seek(step)
        all_of(replay)
        assert replay.timeline.step == step
    replay.seek(70)
    replay.play(True)
    for _ in range(20):
        clock.now += 0.1
        before = replay.timeline.step
        replay.read()
        assert replay.timeline.step >= before
    assert replay.timeline.step >= 85


def test_a_frame_that_comes_late_is_not_seen_before_its_time(make: Make) -> None:
    """A Curvature of step 20 that arrived during step 30 belongs to the state at 30, not to that at 20."""
    frames: list[AnyFrame] = [HEADER, *steps(1, 100)]
    frames.insert(31, Curvature(step=20, wall=1003.01, top=(Ritz(1.0, 0.1),)))
    replay = make(list(numbered(frames)), playing=False)
    for step, late in ((20, 0), (29, 0), (30, 1)):
        replay.seek(step)
        assert [type(frame) for frame in replay.read()].count(Curvature) == late


def test_seeking_back_and_forth_starts_over_each_time(make: Make, clock: Clock) -> None:
    """And of several seeks before a read only the last counts; playing goes on from the target."""
    frames = story()
    replay = make(frames)
    clock.now += 5.0
    replay.read()
    for step in (90, 10, 30):
        replay.seek(step)
    assert replay.timeline.step == 30
    seen = replay.read()
    assert seen[0] == HEADER and seen[-1].step == 30
    clock.now += 0.1
    assert [frame.step for frame in replay.read() if isinstance(frame, Scalars)] == [31]


def test_advance_gives_single_frames_while_paused(make: Make, clock: Clock) -> None:
    """Numbered ones, with the heartbeats between them; playing goes on from there."""
    replay = make(story(), playing=False)
    replay.seek(9)
    replay.read()
    replay.advance(1)
    assert [frame.step for frame in replay.read()] == [10]
    assert replay.read() == []
    replay.advance(2)
    assert [type(frame) for frame in replay.read()] == [Heartbeat, Scalars, Scalars]
    clock.now += 100.0
    replay.play(True)
    clock.now += 0.11
    assert [frame.step for frame in replay.read()] == [13]


def test_the_timeline_knows_steps_and_alerts(make: Make) -> None:
    """Before anything has been read."""
    timeline = make(story(), playing=False, speed=2.0).timeline
    assert (timeline.first_step, timeline.last_step, timeline.alerts) == (1, 100, (33,))
    assert (timeline.playing, timeline.speed, timeline.at_end) == (False, 2.0, False)


def attempts() -> list[AnyFrame]:
    """Steps 1 to 80, then resumed from 50 up to 120."""
    second = RunStarted(step=50, wall=1020.0, run="r1", attempt=2)
    return list(numbered([HEADER, *steps(1, 80), second, *steps(51, 120, attempt=2)]))


@pytest.mark.parametrize(
    ("start", "step", "attempt", "seen"),
    [
        (None, 30, 1, 31),  # only the first attempt was there
        (None, 70, 1, 71),  # the one being watched
        (None, 100, 2, 132),  # only the second
        (110, 70, 2, 102),  # the one being watched
        (110, 30, 1, 31),
        (30, 60, 1, 61),
    ],
)
def test_a_seek_stays_in_the_attempt_that_is_watched(
    make: Make, start: int | None, step: int, attempt: int, seen: int
) -> None:
    """And goes to another only when this one was never at that step."""
    replay = make(attempts(), playing=False)
    if start is not None:
        replay.seek(start)
        replay.read()
    replay.seek(step)
    frames = replay.read()
    assert (frames[-1].step, frames[-1].attempt, len(frames)) == (step, attempt, seen)


def long_story() -> list[AnyFrame]:
    """30 000 frames with few events."""
    frames: list[AnyFrame] = [HEADER, *steps(1, 30_000, rate=1000.0)]
    frames[100] = Curvature(step=100, wall=1000.1, top=(Ritz(7.0, 0.1),))
    frames[9000] = Curvature(step=9000, wall=1009.0, top=(Ritz(8.0, 0.1),))
    frames[500] = Alert(step=500, wall=1000.5, kind="stall")
    frames[20_000] = Mark(step=20_000, wall=1020.0, note="here")
    return list(numbered(frames))


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[AnyFrame], Path]:
    frames = long_story()
    folder = tmp_path_factory.mktemp("long")
    record(folder, HEADER, frames[1:])
    return frames, folder


@pytest.mark.parametrize(("fine_rows", "step"), [(8000, 25_000), (8000, 29_999), (100, 25_000), (0, 12_345)])
def test_a_seek_far_into_a_long_recording_leads_up_in_rows(
    long_recording: tuple[list[AnyFrame], Path],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    fine_rows: int,
    step: int,
) -> None:
    """Every number before the target is in exactly one row or comes raw; events and the last Curvature are there."""
    monkeypatch.setattr(seeking, "FINE_ROWS", fine_rows)
    monkeypatch.setattr(seeking, "EXACT_FRAMES", 5000)
    written, folder = long_recording
    replay = Replay(Recording.open(folder), playing=False, clock=clock)
    replay.seek(step)
    frames = replay.read()
    assert len(frames) < 8000 and frames[0] == HEADER
    rows = [frame for frame in frames if isinstance(frame, Summary)]
    raw_from = rows[-1].seq + 1
    known = 0
    for row in rows:
        assert row.first_seq == known + 1
        known = row.seq
    raw = [frame for frame in frames if frame.seq >= raw_from and not isinstance(frame, Summary)]
    assert raw == written[raw_from - 1 : step + 1]
    assert len(raw) >= seeking.NEAR_FRAMES
    known = 0
    for frame in frames:  # an event comes behind the row that it fell into
        assert (frame.first_seq if isinstance(frame, Summary) else frame.seq) <= known + 1
        known = max(known, frame.seq)
    passed = written[: step + 1]
    for kind in (Alert, Mark):
        assert [frame for frame in frames if isinstance(frame, kind)] == [
            frame for frame in passed if isinstance(frame, kind)
        ]
    curvature = [frame for frame in frames if isinstance(frame, Curvature)]
    assert curvature[-1] == [frame for frame in passed if isinstance(frame, Curvature)][-1]
    coarse = [row.level for row in rows]
    assert coarse == sorted(coarse, reverse=True)
    replay.advance(5)
    assert [frame.step for frame in replay.read()] == list(range(step + 1, min(step + 6, 30_001)))
    replay.close()


def test_what_is_far_too_fast_comes_in_rows_alone(
    long_recording: tuple[list[AnyFrame], Path], clock: Clock
) -> None:
    """Close behind the clock, every number once; at a speed that can be read the frames themselves come again."""
    written, folder = long_recording
    replay = Replay(Recording.open(folder), speed=50.0, clock=clock)
    clock.now += 0.22
    got = replay.read(max_items=100, max_secs=10.0)
    for _ in range(4):
        rows = replay.read()
        assert rows and all(isinstance(row, Summary | Alert | Curvature | Mark) for row in rows)
        got += rows
        at = 1000.0 + (clock.now - 50.0) * 50.0
        assert at - 0.2 <= max(row.wall for row in rows) <= at
        assert replay.read() == []
        clock.now += 0.06
    numbers = [frame for frame in got if not isinstance(frame, Alert | Curvature | Mark)]
    known = 1
    for frame in numbers[1:]:
        first = frame.first_seq if isinstance(frame, Summary) else frame.seq
        assert first <= known + 2  # an event is a number too, and comes behind its row or by itself
        known = frame.seq
    replay.set_speed(1.0)
    clock.now += 1.0
    raw = replay.read()
    assert raw and raw == written[raw[0].seq - 1 : raw[-1].seq]
    replay.close()


def test_a_seek_far_brings_a_past_of_what_is_drawn_over_time(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Densities and layers from all over the run, in the order of their steps, the last before the target among them."""
    monkeypatch.setattr(seeking, "EXACT_FRAMES", 5000)
    monkeypatch.setattr(overview, "_MOST_PAST", 4)

    def measured(frame: AnyFrame) -> AnyFrame:
        at = {"seq": frame.seq, "step": frame.step, "wall": frame.wall}
        if not isinstance(frame, Scalars) or frame.step % 500:
            return frame
        if frame.step % 1000:
            return Curvature(**at, density_grid=(-1.0, 0.0, 1.0), density_mass=(0.2, 0.3, 0.5))  # type: ignore[arg-type]
        return Layers(**at, names=("a",), values={"activation": (1.0,)})  # type: ignore[arg-type]

    written = [measured(frame) for frame in long_story()]
    record(tmp_path, HEADER, written[1:])
    target = 25_000
    replay = Replay(Recording.open(tmp_path), playing=False, clock=clock)
    for _ in range(2):  # the second seek finds what the first has read
        replay.seek(target)
        frames = replay.read()
        for kind in (Curvature, Layers):
            there = [frame for frame in written[: target + 1] if isinstance(frame, kind)]
            got = [frame for frame in frames if isinstance(frame, kind)]
            assert got == [frame for frame in there if frame in got]  # each once, in order, as it was written
            assert got[-1] == there[-1]
            assert got[0].step < 5000
            assert len([frame for frame in got if frame.step < target - 10_000]) >= 2
    replay.close()


def test_a_heartbeat_does_not_hide_the_measurement_whose_number_it_repeats(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seek far behind them brings both."""
    monkeypatch.setattr(seeking, "EXACT_FRAMES", 5000)
    written = long_story()
    layers = Layers(seq=9001, step=9000, wall=1009.0, names=("a",), values={"activation": (1.0,)})
    beat = Heartbeat(seq=9001, step=9000, wall=1009.0, rate=1000.0)
    written[9000:9001] = [layers, beat]
    record(tmp_path, HEADER, written[1:])
    replay = Replay(Recording.open(tmp_path), playing=False, clock=clock)
    replay.seek(25_000)
    frames = replay.read()
    replay.close()
    assert frames.count(layers) == frames.count(beat) == 1


def test_what_is_too_fast_to_be_read_comes_in_rows(
    long_recording: tuple[list[AnyFrame], Path], clock: Clock
) -> None:
    """Far behind its time, a replay goes on with summaries: every number once, events in their place, then raw again."""
    written, folder = long_recording
    replay = Replay(Recording.open(folder), speed=5.0, clock=clock)
    clock.now += 5.0
    got = replay.read(max_items=100, max_secs=10.0)
    assert got == written[:100]
    got = all_of(replay)
    rows = [frame for frame in got if isinstance(frame, Summary)]
    assert rows[0].first_seq == 101
    assert all(row.first_seq == before.seq + 1 for before, row in pairwise(rows))
    raw = [frame for frame in got if frame.seq > rows[-1].seq]
    assert raw == written[rows[-1].seq : 25_001]
    assert [frame for frame in got if isinstance(frame, Alert | Mark)] == [written[500], written[20_000]]
    assert replay.timeline.step == 25_000
    clock.now += 0.01
    assert [frame.step for frame in replay.read()] == list(range(25_001, 25_051))
    replay.close()


def test_the_link_says_how_it_ended(make: Make, clock: Clock) -> None:
    """Nothing when it ended well; "ended early" when there is no end."""
    frames = story()
    assert make(frames).link == Link("replay")
    broken = make(frames[:-1])
    assert broken.link == Link("replay", "the end is not recorded")
    broken.seek(100)
    all_of(broken)
    clock.now += 10.0
    all_of(broken)
    assert broken.link.words == "ended early"


def test_the_link_counts_what_is_lost(make: Make) -> None:
    """Once the hole has been passed."""
    frames = story()
    replay = make(frames[:50] + frames[55:], playing=False)
    replay.advance(1000)
    all_of(replay)
    lost = len([frame for frame in frames[50:55] if not isinstance(frame, Heartbeat)])
    assert replay.link.lost == lost
    assert f"{lost} frames lost near step" in replay.link.words


def test_a_recording_that_has_just_begun_can_be_replayed(make: Make) -> None:
    """Nothing but a header."""
    replay = make([HEADER])
    assert replay.read() == [HEADER]
    replay.seek(17)
    assert replay.read() == [HEADER]
    assert replay.timeline.at_end


def test_the_synthetic_source_gives_what_it_was_given() -> None:
    """In portions, with pushes behind, and with the link it was told."""
    frames = list(numbered(steps(1, 10)))
    source = Synthetic(iter(frames), link=Link("stale", "3 s"))
    assert source.link.words == "3 s"
    assert source.read(max_items=4, max_secs=10.0) == frames[:4]
    late = structs.replace(frames[0], seq=11)
    source.push(late)
    assert all_of(source) == [*frames[4:], late]
    assert source.read() == []
    source.push(late)
    assert source.read() == [late]
    source.close()
    assert source.closed


def test_numbers_are_given_as_the_sender_gives_them() -> None:
    """From 1 without holes; heartbeats and summaries repeat."""
    frames: list[AnyFrame] = [Scalars(), Heartbeat(), Scalars(), Summary(), Heartbeat(), Mark()]
    assert [frame.seq for frame in numbered(frames)] == [1, 1, 2, 2, 2, 3]
