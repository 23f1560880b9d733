"""The live source: phases of the link in words, and that a process that is gone is told from one that is silent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from lsmon.protocol.cards import Card, read_cards, remove_card, write_card
from lsmon.protocol.codec import encode
from lsmon.protocol.frames import AnyFrame, Heartbeat, RunEnded, RunStarted, Scalars
from lsmon.protocol.process import this_process
from lsmon.protocol.recording.writer import Recorder
from lsmon.protocol.sources.live import Live
from lsmon.protocol.wire.server import Server
from tests.clock import Clock
from tests.waiting import until

HEADER = RunStarted(seq=1, run="0a1b", name="mlp")

TRAINING = """
import os, sys, time
from pathlib import Path
from lsmon.protocol.cards import Card, write_card
from lsmon.protocol.codec import encode
from lsmon.protocol.frames import Heartbeat, RunStarted, Scalars
from lsmon.protocol.process import this_process
from lsmon.protocol.wire.server import Server

me = this_process()
server = Server(Path(sys.argv[1]), RunStarted(seq=1, run="0a1b", name="mlp"))
for seq in range(2, 100):
    server.publish(frame := Scalars(seq=seq, step=seq, values={"loss": 1.0}), encode(frame))
if sys.argv[2] == "fork" and os.fork() == 0:
    sys.stdin.read()  # like a loader's worker that outlives its parent
    os._exit(0)
write_card(Card(run="0a1b", name="mlp", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
                live=str(server.live), ask=str(server.ask)))
print("ready", flush=True)
beat_at = 0
while True:
    server.poll()
    if time.monotonic() > beat_at:
        server.publish(beat := Heartbeat(seq=99), encode(beat))
        beat_at = time.monotonic() + 1
    time.sleep(0.01)
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lsmon-") as path:
        monkeypatch.setenv("LSMON_DIR", path)
        yield Path(path)


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with closing(Server(folder, HEADER)) as server:
        yield server


def card_of(server: Server, pid: int | None = None) -> Card:
    me = this_process()
    return Card(
        run="0a1b", name="mlp", host=me.host, pid=pid or me.pid, boot=me.boot, pid_started=me.pid_started,
        live=str(server.live), ask=str(server.ask),
    )  # fmt: skip


def phase(live: Live) -> str:
    return live.link.phase


def read_until(server: Server, live: Live, last: int) -> list[AnyFrame]:
    frames: list[AnyFrame] = []

    def done() -> bool:
        server.poll()
        frames.extend(live.read())
        return bool(frames) and frames[-1].seq >= last

    until(done)
    return frames


def test_the_link_goes_from_connecting_to_live_to_stale_and_back(server: Server) -> None:
    clock = Clock(100.0)
    with closing(Live(card_of(server), clock=clock)) as live:
        assert live.link.phase == "connecting" and "mlp" in live.link.words
        clock.now += 6
        assert live.link.phase == "connecting" and "not answered" in live.link.words
        read_until(server, live, 1)
        assert phase(live) == "live"
        clock.now += 3.5
        assert live.read() == []
        assert phase(live) == "stale" and "4 s" in live.link.words
        server.publish(beat := Heartbeat(seq=1), encode(beat))
        until(lambda: bool(live.read()))
        assert phase(live) == "live"


def test_silence_is_not_blamed_on_a_training_whose_recording_grows(server: Server, folder: Path) -> None:
    """It grew long after the last frame came: so it is the way here that is cut. Otherwise the training stands still."""
    made = folder / "recording"
    made.mkdir()
    (segment := made / "000.mcap").touch()
    clock = Clock(100.0)
    with closing(Live(structs.replace(card_of(server), recording=str(made)), clock=clock)) as live:
        read_until(server, live, 1)
        clock.now += 100
        assert "its recording grows" in live.link.words
        os.utime(segment, (time.time() - 99, time.time() - 99))
        assert "stopped or stuck" in live.link.words


def test_a_training_that_says_so_has_ended(server: Server) -> None:
    with closing(Live(card_of(server))) as live:
        read_until(server, live, 1)
        server.publish(end := RunEnded(seq=2, reason="error", error="ValueError: x"), encode(end))
        frames = read_until(server, live, 2)
        assert isinstance(frames[-1], RunEnded)
        assert (live.link.phase, live.link.words) == ("ended", "ValueError: x")


def test_read_keeps_to_its_limits(server: Server) -> None:
    for seq in range(2, 2000):
        server.publish(frame := Scalars(seq=seq, values={"loss": 1.0}), encode(frame))
    clock = Clock(100.0)
    with closing(Live(card_of(server), clock=clock)) as live:
        first: list[AnyFrame] = []

        def begun() -> bool:
            server.poll()
            first.extend(live.read(max_items=1))
            return bool(first)

        until(begun)
        assert [len(live.read(max_items=3)) for _ in range(5)] == [3] * 5
        assert len(live.read(max_secs=0.0)) == 1
        assert 1 + 15 + 1 + len(live.read()) == 1999


def test_the_link_is_behind_until_the_history_has_been_read(server: Server) -> None:
    """Also while the training goes on, so that one who wants all there is need not wait for silence."""
    for seq in range(2, 9000):
        server.publish(frame := Scalars(seq=seq, values={"loss": 1.0}), encode(frame))
    with closing(Live(card_of(server))) as live:
        seen, seq = 0, 9000
        while live.link.behind:
            server.publish(frame := Scalars(seq=seq, values={"loss": 1.0}), encode(frame))
            seq += 1
            server.poll()
            seen += len(live.read())
        assert seen >= 8999


def test_joining_after_a_number_gives_what_follows(server: Server) -> None:
    for seq in range(2, 50):
        server.publish(frame := Scalars(seq=seq, values={"loss": 1.0}), encode(frame))
    with closing(Live(card_of(server), after=40)) as live:
        assert [frame.seq for frame in read_until(server, live, 49)] == list(range(41, 50))
        assert live.link.lost == 0


def test_a_card_of_a_process_that_is_gone_is_dead(server: Server) -> None:
    """And when its card has gone as well, it had ended rather than crashed."""
    card = card_of(server, pid=(1 << 22) - 1)
    write_card(card)
    with closing(Live(card)) as live:
        until(lambda: live.read() == [] and live.link.phase == "dead")
        assert "is gone" in live.link.words
    remove_card(card.run)
    with closing(Live(card)) as live:
        until(lambda: live.read() == [] and live.link.phase == "ended")
        assert "did not come through" in live.link.words


@pytest.mark.parametrize("kind", ["alone", "fork"])
def test_kill_9_is_told_in_words_within_5_seconds(folder: Path, kind: str) -> None:
    """Also when a forked child lives on with the parent's connections: it must not pass for the training."""
    with subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(folder), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as training:
        assert training.stdout is not None and training.stdout.readline() == b"ready\n"
        (card,) = read_cards()
        frames: list[AnyFrame] = []
        with closing(Live(card)) as live:

            def joined() -> bool:
                frames.extend(live.read())
                return live.link.phase == "live" and len(frames) >= 99

            until(joined)
            training.send_signal(signal.SIGKILL)
            until(lambda: live.read() == [] and live.link.phase == "dead", secs=5)
            assert f"process {card.pid} is gone" in live.link.words
        with closing(Live(card)) as late:
            until(lambda: late.read() == [] and late.link.phase == "dead", secs=5)
        assert [frame.seq for frame in frames if isinstance(frame, Scalars)] == list(range(2, 100))


def test_a_stopped_training_is_stale_not_dead(folder: Path) -> None:
    clock = Clock(100.0)
    with subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(folder), "alone"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as training:
        assert training.stdout is not None and training.stdout.readline() == b"ready\n"
        with closing(Live(read_cards()[0], clock=clock)) as live:
            until(lambda: bool(live.read()))
            training.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, training.pid, os.WSTOPPED | os.WNOWAIT)
            until(lambda: not live.read())
            clock.now += 10
            live.read()
            assert live.link.phase == "stale" and "stopped or stuck" in live.link.words
        training.kill()


def read_to_the_end(live: Live, frames: list[AnyFrame]) -> None:
    def over() -> bool:
        frames.extend(live.read())
        return live.link.phase in ("dead", "ended")

    until(over)


@pytest.mark.parametrize("ends", [False, True])
def test_what_did_not_come_through_comes_from_the_recording(server: Server, folder: Path, ends: bool) -> None:
    """A viewer that was asleep while the training was killed, or ended, shows all that had been recorded."""
    header = RunStarted(seq=1, run="0a1b", name="mlp")
    frames: list[AnyFrame] = [Scalars(seq=seq, step=seq, values={"loss": 1.0}) for seq in range(2, 60)]
    frames += [RunEnded(seq=60)] if ends else []
    (folder / "recording").mkdir()
    recorder = Recorder(folder / "recording", header)
    with closing(recorder):
        for frame in frames:
            recorder.write(frame, encode(frame))
            if frame.seq <= 20:
                server.publish(frame, encode(frame))
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    card = structs.replace(card_of(server), recording=str(folder / "recording"))
    write_card(card)
    with closing(Live(card)) as live:
        seen = read_until(server, live, 20)
        live.card = structs.replace(card, pid=process.pid)
        read_to_the_end(live, seen)
        assert [frame.seq for frame in seen if isinstance(frame, Scalars | RunEnded)] == list(
            range(2, 60 + ends)
        )
        assert live.link.lost == 0
        assert live.link.phase == ("ended" if ends else "dead")


def test_a_recording_of_another_run_is_not_shown(server: Server, folder: Path) -> None:
    """A card names a folder, and what is in it may have been replaced."""
    (folder / "recording").mkdir()
    with closing(Recorder(folder / "recording", RunStarted(seq=1, run="other"))) as recorder:
        recorder.write(frame := Scalars(seq=2, values={"loss": 1.0}), encode(frame))
    card = structs.replace(card_of(server, pid=(1 << 22) - 1), recording=str(folder / "recording"))
    frames: list[AnyFrame] = []
    with closing(Live(card)) as live:
        read_to_the_end(live, frames)
    assert frames == []
