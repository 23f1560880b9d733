"""From the queue to the sinks: numbers without holes, merging, rounding, drops, alerts, and the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lsmon.probe.guard import Guard
from lsmon.probe.heartbeat import Pulse
from lsmon.probe.sender import Sender
from lsmon.protocol.codec import MAX_FRAME, decode, encode
from lsmon.protocol.frames import (
    UNNUMBERED,
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Mark,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)
from lsmon.protocol.wire.request import LIVE_BYTES
from tests.clock import Clock


class Sink:
    """Remembers what it is given."""

    quiet = True

    def __init__(self) -> None:
        self.frames: list[AnyFrame] = []
        self.ticks = 0
        self.closed = 0

    def write(self, frame: AnyFrame, data: bytes) -> None:
        assert data == encode(frame)
        self.frames.append(frame)

    def tick(self) -> None:
        self.ticks += 1

    def close(self) -> None:
        self.closed += 1

    def of(self, kind: type[Any]) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kind)]


class Late:
    """A value that is still on the device."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.there = False

    def ready(self) -> bool:
        return self.there

    def values(self) -> list[float]:
        return [self.value]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def make(sink: Sink, clock: Clock) -> Iterator[Callable[..., Sender]]:
    def maker(**options: Any) -> Sender:
        options.setdefault("guard", Guard())
        return Sender(RunStarted(seq=1, run="r", pid=7), [sink], clock=clock, **options)

    yield maker


def test_numbers_have_no_holes(make: Callable[..., Sender], sink: Sink) -> None:
    """Numbered frames follow the header's 1 as 2, 3, 4, ...; heartbeats and summaries repeat the last number."""
    sender = make()
    for step in range(1, 301):
        sender.put(step, 1, {"loss": 1.0 / step})
        if step % 50 == 0:
            sender.put(step, 1, Mark(note="here"))
            sender.turn()
    sender.close(RunEnded(), 1.0)
    numbered = [frame.seq for frame in sink.frames if not isinstance(frame, UNNUMBERED)]
    assert numbered == list(range(2, 2 + 300 + 6 + 1))
    last = 1
    for frame in sink.frames:
        if isinstance(frame, Heartbeat):
            assert frame.seq == last
        elif isinstance(frame, Summary):
            assert frame.seq <= last
        else:
            last = frame.seq
    assert isinstance(sink.frames[-1], RunEnded)
    assert sink.closed == 1
    folded = sum(summary.series["loss"][0] for summary in sink.of(Summary) if summary.level == 64)
    assert folded == 300


def test_one_frame_a_step(make: Callable[..., Sender], sink: Sink, clock: Clock) -> None:
    """Loss, sensor values and log of one step become one frame, its words and errors with it."""
    sender = make()
    sender.put(1, 1, {"loss": 0.5})
    sender.put(1, 1, {"grad/norm": 2.0})
    sender.put(1, 1, Scalars(step=1, values={"temperature/noise": 3.0}, errors={"temperature/noise": 0.1}))
    sender.turn()
    assert not sink.of(Scalars)  # more of this step may come
    clock.now += 0.2
    sender.turn()
    (frame,) = sink.of(Scalars)
    assert frame.values == {"loss": 0.5, "grad/norm": 2.0, "temperature/noise": 3.0}
    assert frame.errors == {"temperature/noise": 0.1}


def test_the_same_name_twice_in_a_step_keeps_both(make: Callable[..., Sender], sink: Sink) -> None:
    """Nothing is overwritten: the second value gets a frame of its own."""
    sender = make()
    sender.put(1, 1, {"loss": 1.0})
    sender.put(1, 1, {"loss": 2.0})
    sender.close(RunEnded(), 1.0)
    assert [frame.values["loss"] for frame in sink.of(Scalars)] == [1.0, 2.0]


def test_what_there_is_no_time_for_at_the_end_is_counted(
    make: Callable[..., Sender], sink: Sink, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of the time that the training waits goes to the oldest, then the newest are told, and that it is over."""
    sender, write = make(), sink.write

    def slow(frame: AnyFrame, data: bytes) -> None:
        clock.now += 1e-3
        write(frame, data)

    monkeypatch.setattr(sink, "write", slow)
    for step in range(1, 8001):
        sender.put(step, 1, {"loss": 1.0 / step})
    began = clock.now
    assert sender.close(RunEnded(), 2.0)
    assert clock.now - began < 2.0
    told = [frame.step for frame in sink.of(Scalars)]
    assert told[:500] == list(range(1, 501)) and told[-256:] == list(range(7745, 8001))
    (ended,) = sink.of(RunEnded)
    assert ended.dropped == 8000 - len(told) > 0


def test_file_wire_and_detectors_see_the_same_number(make: Callable[..., Sender], sink: Sink) -> None:
    """Values are rounded to seven digits before anybody sees them, and survive encoding unchanged."""
    sender = make()
    sender.put(1, 1, {"loss": 1 / 3, "odd\x1b[31m": math.nan})
    sender.close(RunEnded(), 1.0)
    (frame,) = sink.of(Scalars)
    assert frame.values["loss"] == 0.3333333
    again = decode(encode(frame))
    assert isinstance(again, Scalars)
    assert again.values.keys() == frame.values.keys()
    assert "\x1b" not in "".join(frame.values)


def test_a_nan_raises_an_alert_that_is_numbered(make: Callable[..., Sender], sink: Sink) -> None:
    """The detectors run on what is sent, and their alerts are frames like any other."""
    heard: list[Alert] = []
    sender = make(on_alert=heard.append)
    sender.put(5, 2, {"loss": math.nan})
    sender.close(RunEnded(), 1.0)
    (alert,) = sink.of(Alert)
    assert (alert.kind, alert.step, alert.attempt, alert.seq) == ("nonfinite", 5, 2, 3)
    assert alert.wall > 0
    assert heard == [alert]


def test_what_is_on_the_device_keeps_its_place(make: Callable[..., Sender], sink: Sink, clock: Clock) -> None:
    """A value that has not arrived holds back what comes after it, and only that."""
    sender, late = make(), Late(4.0)
    sender.put(1, 1, {"loss": 1.0})
    sender.put(2, 1, {"loss": late})
    sender.put(3, 1, {"loss": 3.0})
    clock.now += 1.0
    sender.turn()
    clock.now += 1.0
    sender.turn()
    assert [frame.step for frame in sink.of(Scalars)] == [1]
    late.there = True
    sender.close(RunEnded(), 1.0)
    assert [frame.values["loss"] for frame in sink.of(Scalars)] == [1.0, 4.0, 3.0]


class Broken(Late):
    """A value on a device that failed: whatever is asked of it raises."""

    def ready(self) -> bool:
        raise RuntimeError("device-side assert triggered")

    def values(self) -> list[float]:
        raise RuntimeError("device-side assert triggered")


def test_a_device_that_failed_takes_nothing_else_with_it(sink: Sink, clock: Clock) -> None:
    """Of a value that cannot be read any more it is said so; what else was logged, the heartbeat and the end come."""
    guard = Guard()
    sender = Sender(RunStarted(seq=1), [sink], guard=guard, clock=clock)
    sender.put(1, 1, {"loss": Broken(0.0), "lr": 0.1})
    sender.put(2, 1, {"lr": 0.2})
    sender.turn()
    sender.put(3, 1, {"loss": Broken(0.0)})
    assert sender.close(RunEnded(reason="error", error="RuntimeError: device-side assert triggered"), 1.0)
    assert [frame.values for frame in sink.of(Scalars)] == [{"lr": 0.1}, {"lr": 0.2}]
    assert guard.notes == {"value loss": "off: RuntimeError: device-side assert triggered"}
    assert len(sink.of(Heartbeat)) == 2
    assert sink.of(RunEnded)[0].error == "RuntimeError: device-side assert triggered"
    assert sink.closed == 1


def test_the_end_does_not_wait_for_a_device_that_hangs(sink: Sink) -> None:
    """What is still on it when the time is up is counted as dropped, and what was logged beside it is kept."""
    ticks = iter(range(1000))
    sender = Sender(RunStarted(seq=1), [sink], guard=Guard(), clock=lambda: next(ticks) / 100)
    sender.put(1, 1, {"loss": Late(0.5), "lr": 0.1})
    assert sender.close(RunEnded(), 1.0)
    assert [frame.values for frame in sink.of(Scalars)] == [{"lr": 0.1}]
    assert sink.of(RunEnded)[0].dropped == 1


def test_more_names_at_once_than_a_frame_holds_are_several(make: Callable[..., Sender], sink: Sink) -> None:
    """Each can be read, all are of that step, and nothing is left out."""
    sender = make()
    many = {f"{'ü' * 120}/{n}": float(n) for n in range(6500)}
    sender.put(7, 1, {"loss": 0.5})
    sender.put(7, 1, dict(many))
    sender.put(7, 1, {"lr": 0.1})
    sender.close(RunEnded(), 1.0)
    frames = sink.of(Scalars)
    assert {frame.step for frame in frames} == {7}
    assert max(len(encode(frame)) for frame in frames) < MAX_FRAME
    told = {name: value for frame in frames for name, value in frame.values.items()}
    assert told == {"loss": 0.5, **many, "lr": 0.1}
    assert [frame.seq for frame in frames] == list(range(2, 2 + len(frames)))


def test_a_step_of_thousands_of_numbers_is_published(make: Callable[..., Sender], sink: Sink) -> None:
    """No frame of it is longer than a viewer is sent live: such a one comes through history, or not at all."""
    sender = make()
    sender.put(7, 1, {f"layers/{n}/attention/output/dense/weight": n / 7 for n in range(3000)})
    sender.close(RunEnded(), 1.0)
    assert max(len(encode(frame)) for frame in sink.of(Scalars)) < LIVE_BYTES


def test_names_that_are_one_when_cut_are_told(sink: Sink, clock: Clock) -> None:
    """Of two quantities that differ only in their last letters one is lost, and not without a word."""
    guard = Guard()
    sender = Sender(RunStarted(seq=1), [sink], guard=guard, clock=clock)
    sender.put(1, 1, {f"{'a' * 100}/x": 1.0, f"{'a' * 100}/y": 2.0})
    sender.turn()
    assert not guard.notes
    sender.put(2, 1, {f"{'a' * 200}/x": 1.0, f"{'a' * 200}/y": 2.0})
    sender.close(RunEnded(), 1.0)
    assert "differ only beyond 128 letters" in guard.notes["names"]


def test_overflow_drops_the_oldest_and_counts(make: Callable[..., Sender], sink: Sink) -> None:
    """A full queue loses its oldest items, never the newest, and says how many in the heartbeat and at the end."""
    sender = make(queue=100)
    for step in range(1, 251):
        sender.put(step, 1, {"loss": 1.0})
    sender.close(RunEnded(), 1.0)
    assert [frame.step for frame in sink.of(Scalars)] == list(range(151, 251))
    assert sink.of(Heartbeat)[-1].dropped == 150
    assert sink.of(RunEnded)[0].dropped == 150


def test_the_heart_beats_once_a_second(make: Callable[..., Sender], sink: Sink, clock: Clock) -> None:
    """With process, share, notes and the step rate of the last seconds."""
    sender = make(pulse=lambda: Pulse(0.031, "stopped: disk full", {"curvature": "waits"}))
    for _ in range(500):  # ten seconds at 20 ms
        sender.steps += 4
        sender.turn()
        clock.now += 0.02
    beats = sink.of(Heartbeat)
    assert len(beats) == 10
    assert beats[-1].rate == pytest.approx(200.0)
    assert (beats[-1].share, beats[-1].pid) == (0.031, 7)
    assert beats[-1].recording == "stopped: disk full"
    assert beats[-1].notes == {"curvature": "waits"}


def test_a_frame_keeps_the_step_it_was_measured_on(make: Callable[..., Sender], sink: Sink) -> None:
    """A curvature frame belongs to its snapshot, which later steps have left behind."""
    sender = make()
    sender.put(9, 1, {"loss": 1.0})
    sender.put(4, 1, Curvature(step=4))
    sender.put(10, 1, {"loss": 1.0})
    sender.close(RunEnded(), 1.0)
    assert [frame.step for frame in sink.frames if isinstance(frame, Scalars | Curvature)] == [9, 4, 10]
    assert sink.of(RunEnded)[0].step == 10


def test_a_sink_that_fails_is_let_go(sink: Sink, clock: Clock) -> None:
    """The others get everything, and the fault is noted once."""

    class Broken(Sink):
        def write(self, frame: AnyFrame, data: bytes) -> None:
            raise OSError("no space left")

    guard = Guard()
    sender = Sender(RunStarted(seq=1), [Broken(), sink], guard=guard, clock=clock)
    for step in range(5):
        sender.put(step, 1, {"loss": 1.0})
    sender.close(RunEnded(), 1.0)
    assert len(sink.of(Scalars)) == 5
    assert guard.notes == {"broken": "off: OSError: no space left"}


def test_the_thread_sends_and_close_is_bounded() -> None:
    """A sink that hangs cannot hold ``close`` longer than it was told to wait."""

    class Stuck(Sink):
        def tick(self) -> None:
            super().tick()
            time.sleep(1.5)

    stuck = Stuck()
    sender = Sender(RunStarted(seq=1), [stuck], guard=Guard())
    sender.start()
    deadline = time.monotonic() + 10
    while not stuck.ticks and time.monotonic() < deadline:
        time.sleep(0.005)
    began = time.monotonic()
    assert not sender.close(RunEnded(), 0.1)
    assert time.monotonic() - began < 1.0
    assert sender.close(RunEnded(), 10.0)
    assert stuck.closed == 1


def test_the_end_is_told_last_and_forgets_the_run(make: Callable[..., Sender], sink: Sink) -> None:
    """The error is in the last frame, and the session card goes when all is written."""
    order: list[str] = []
    sender = make(on_end=lambda: order.append(f"closed {sink.closed}"))
    sender.close(RunEnded(reason="error", error="ValueError: no"), 1.0)
    assert order == ["closed 1"]
    last = sink.frames[-1]
    assert isinstance(last, RunEnded)
    assert (last.reason, last.error) == ("error", "ValueError: no")
