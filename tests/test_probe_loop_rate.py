"""Whether the loop goes on, and what it waits for when it does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lsmon.probe.guard import Guard
from lsmon.probe.loop_rate import LoopRate
from lsmon.probe.outlets import _Wire
from lsmon.probe.sender import Sender
from lsmon.probe.whereabouts import whereabouts
from lsmon.protocol.cards import read_cards
from lsmon.protocol.codec import encode
from lsmon.protocol.detectors.standstill import Standstill
from lsmon.protocol.frames import Alert, AnyFrame, Heartbeat, RunEnded, RunStarted
from lsmon.protocol.process import this_process
from lsmon.protocol.sources.source import Link
from lsmon.tui.commands.ls import table
from lsmon.tui.runs import local_runs
from lsmon.tui.store import Store
from lsmon.tui.view import View
from lsmon.tui.widgets.bars import Moment, said
from tests.clock import Clock
from tests.test_probe_sender import Sink


def looked(pace: LoopRate, steps: Callable[[float], int], begin: int, end: int) -> list[tuple[float, float]]:
    """Rate and idle time at every second."""
    seen = []
    for second in range(begin, end):
        pace.look(float(second), steps(second), steps(second))
        seen.append((pace.rate, pace.idle))
    return seen


@pytest.mark.parametrize("period", [0.003, 0.3, 1.0, 1.4, 7.0, 30.0, 300.0])
def test_a_loop_that_goes_on_is_never_idle(period: float) -> None:
    """However slow it is; and after three of its steps the rate is right to what a look a second tells."""
    seen = looked(LoopRate(0.0), lambda now: int(now / period), 0, round(max(60.0, 12 * period)))
    assert not any(idle for _, idle in seen)
    for rate, _ in seen[round(max(8.0, 3 * period)) :]:
        assert rate == pytest.approx(1 / period, rel=max(0.3, 0.5 / period if period > 1 else 0.0), abs=0.21)


@pytest.mark.parametrize("period", [0.01, 1.0, 30.0])
def test_one_that_stops_is_idle_until_it_goes_on(period: float) -> None:
    """After ten seconds and after five of its steps, not before; then its rate is nought."""
    pace, stop = LoopRate(0.0), round(40 * max(1.0, period))
    looked(pace, lambda now: int(now / period), 0, stop + 1)
    patience = max(10.0, 5 * period)
    for after, (rate, idle) in enumerate(
        looked(pace, lambda now: int(stop / period), stop + 1, stop + 1000), 1
    ):
        if after < patience:
            assert not idle
        elif after > patience + max(2.0, period):
            assert idle == pytest.approx(after, abs=max(1.0, period)) and rate == 0.0
    pace.look(stop + 1001.0, 1 << 20, 1 << 20)
    assert not pace.idle


@pytest.mark.parametrize("watched", [True, False])
def test_the_speed_after_a_stop_is_not_averaged_over_it(watched: bool) -> None:
    """Ten steps a second, before a stop of 300 s and right after it; watched, or stopped together with the probe."""
    pace = LoopRate(0.0)
    looked(pace, lambda now: int(10 * now), 1, 61)
    if watched:
        looked(pace, lambda now: 600, 61, 360)
    for rate, idle in looked(pace, lambda now: int(10 * (now - 299)), 360, 380):
        assert rate == pytest.approx(10.0, rel=0.2) and not idle


def test_before_the_first_step_nothing_is_expected() -> None:
    """Compiling, or the first data, takes its time; and what is logged is a sign of life as well."""
    pace = LoopRate(0.0)
    assert not any(idle for _, idle in looked(pace, lambda now: 0, 0, 500))
    for second in range(500, 600):
        pace.look(float(second), 0, second)
        assert not pace.idle
    pace.look(620.0, 0, 599)
    assert pace.idle == 21.0


def beats(standstill: Standstill, secs: int) -> list[Alert]:
    """A stop of so many seconds, which is then over."""
    found = [standstill.see(Heartbeat(step=7, idle=float(idle), where="a.py:1 in f")) for idle in range(secs)]
    assert standstill.see(Heartbeat(step=8)) is None
    return [alert for alert in found if alert is not None]


def test_a_stop_is_told_once_and_later_ones_by_what_is_usual() -> None:
    """An evaluation that takes long is told the first time, and those that take about as long are not."""
    standstill = Standstill()
    assert not beats(standstill, 100)
    (alert,) = beats(standstill, 400)
    assert (alert.kind, alert.step, alert.evidence["seconds"]) == (
        "hang",
        7,
        297.0,
    )  # three times as long as the longest before
    assert "No step for 297 s" in alert.message and "a.py:1 in f" in alert.message
    assert not beats(standstill, 1000)
    assert beats(standstill, 4000)


def test_the_line_that_a_thread_is_in_is_told() -> None:
    """The program's own innermost line, and the library's that it waits in."""
    go, there = threading.Event(), threading.Event()

    def waiting() -> None:
        there.set()
        go.wait()

    thread = threading.Thread(target=waiting)
    thread.start()
    there.wait()
    assert thread.ident is not None
    while " in wait" not in (said := whereabouts(thread.ident)):
        pass
    assert said.startswith("test_probe_loop_rate.py:") and " in waiting, inside threading.py:" in said
    go.set()
    thread.join()
    assert whereabouts(thread.ident) == ""


def test_the_probe_says_so_while_nothing_comes() -> None:
    """On a clock of its own: the heartbeats tell how long, and an alert comes in its turn."""
    clock, sink = Clock(), Sink()
    sender = Sender(RunStarted(seq=1, run="r", pid=7), [sink], clock=clock, guard=Guard())
    for second in range(300):
        if second < 60:
            sender.steps += 10
            sender.put(sender.steps, 1, {"loss": 1.0})
        sender.turn()
        clock.now += 1.0
    sender.close(RunEnded(), 1.0)
    last = sink.of(Heartbeat)[-1]
    assert (last.idle, last.rate) == (241.0, 0.0)
    assert "in test_the_probe_says_so_while_nothing_comes" in last.where
    (alert,) = sink.of(Alert)
    assert (alert.kind, alert.step) == ("hang", 600) and alert.seq > 0
    view = shown([*sink.frames[:-1]])
    assert view.rate == 0.0
    words = [word for _, word in said(Moment(view, Link("live"), heard="just now"))]
    assert words[0].startswith("no step for 4:0") and "last frame" not in " ".join(words)


def shown(frames: list[AnyFrame]) -> View:
    store = Store()
    store.fold_all(frames)
    return store.view()


def test_the_list_of_runs_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the card, which is written anew when the loop stops and when it goes on."""
    monkeypatch.setenv("LSMON_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(tmp_path))
    me = this_process()
    header = RunStarted(seq=1, run="r", name="deaf", pid=me.pid, boot=me.boot, pid_started=me.pid_started)
    wire = _Wire(header, Guard(), None)
    for beat, words in ((Heartbeat(wall=1000.0, idle=12.0), "idle"), (Heartbeat(wall=1001.0), "live")):
        wire.write(beat, encode(beat))
        wire.tick()
        (run,) = local_runs()
        assert run.words.startswith(words) and run.state == "live"
        assert run.words in table([run], 0.0)
        assert read_cards()[0].idle_since == (988.0 if words == "idle" else 0.0)
    wire.close()
