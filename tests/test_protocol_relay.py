"""The relay's bytes: read in any pieces, after any noise, and never more of them than fit."""

from __future__ import annotations

import os
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmon.protocol.cards import Card
from lsmon.protocol.codec import decode, encode
from lsmon.protocol.errors import LsmonError, NewerFormat, Unreachable
from lsmon.protocol.frames import AnyFrame, RunEnded, RunStarted, Scalars, Summary
from lsmon.protocol.process import this_process
from lsmon.protocol.recording.folder import new_folder
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.writer import Recorder
from lsmon.protocol.sources.live import Live
from lsmon.protocol.sources.recorded import Recorded
from lsmon.protocol.wire import outflow as room
from lsmon.protocol.wire import relay as far_end
from lsmon.protocol.wire.records import MAGIC, NOISE_BYTES, VERSION, Packer, Record, RelayReader, State
from lsmon.protocol.wire.relay import relay
from lsmon.protocol.wire.server import Server

HELLO = MAGIC + VERSION


LIVE = State("r", "live")


def packed(*records: tuple[State, list[bytes]]) -> bytes:
    """As a relay sends them."""
    packer = Packer()
    return HELLO + b"".join(packer.pack(state, lines) for state, lines in records)


def fed(data: bytes, size: int) -> list[Record]:
    reader = RelayReader()
    return [record for at in range(0, len(data), size) for record in reader.feed(data[at : at + size])]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_records_come_out_whatever_the_pieces(size: int) -> None:
    sent = [(LIVE, [b"a", b"b"]), (LIVE, []), (State("r", "stale", "slow"), [b"c"])]
    assert fed(b"Last login: now\n" + packed(*sent), size) == sent


def test_noise_is_skipped_up_to_64_kib() -> None:
    noise = b"welcome to box-3\n" * 3000
    assert len(noise) < NOISE_BYTES
    assert len(fed(noise + packed((LIVE, [b"a"])), 4096)) == 1
    with pytest.raises(Unreachable, match="prints more at start-up"):
        fed(b"\0" * (NOISE_BYTES + 1), 4096)


def test_a_later_relay_is_refused_in_a_sentence() -> None:
    with pytest.raises(NewerFormat, match="update lsmon here"):
        fed(MAGIC + b"3\n", 100)
    with pytest.raises(Unreachable, match=r"older one.*update it there"):
        fed(MAGIC + b"1\n", 100)


def test_words_from_the_far_end_are_cleaned() -> None:
    ((state, _),) = fed(packed((State("a\x1b[2J", "stale", "x\x1b]0;y\x07"), [])), 100)
    assert state == State("a␦[2J", "stale", "x␦]0;y␦")


def _one(text: bytes) -> bytes:
    data = zlib.compress(text)
    return struct.pack(">I", len(data)) + data


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff", struct.pack(">I", 3) + b"abc", struct.pack(">I", 0), _one(b"0" * (64 << 20)), _one(b"{"),
        _one(b'{"phase":"x"}'),
    ],
    ids=["length", "not zlib", "nothing", "bomb", "not json", "unknown phase"],
)  # fmt: skip
def test_what_is_not_a_record_ends_the_connection_in_a_sentence(data: bytes) -> None:
    with pytest.raises(Unreachable, match="The other end"):
        fed(HELLO + data, 1 << 16)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_give_records_or_one_of_our_errors(data: bytes, size: int) -> None:
    try:
        fed(HELLO + data, size)
    except LsmonError:
        pass


class Pipe:
    """Both ends of a pipe, as files."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.reading: BinaryIO = os.fdopen(reading, "rb", buffering=0)
        self.writing: BinaryIO = os.fdopen(writing, "wb", buffering=0)

    def close(self) -> None:
        self.reading.close()
        self.writing.close()


FRAMES = 3000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="lsmon-") as folder:
        monkeypatch.setenv("LSMON_DIR", folder)
        with closing(Server(Path(folder), RunStarted(seq=1, run="0a1b", name="mlp"))) as server:
            for seq in range(2, FRAMES):
                server.publish(frame := Scalars(seq=seq, step=seq, values={"loss": 1.0}), encode(frame))
            yield server


def live(server: Server, after: int = 0) -> Relayed:
    me = this_process()
    card = Card(
        run="0a1b", name="mlp", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
        live=str(server.live), ask=str(server.ask),
    )  # fmt: skip
    return Relayed(Live(card, after=after), server)


class Relayed:
    """A relay in a thread, whose other end reads, says what it has taken in, and looks after the server meanwhile."""

    def __init__(self, source: Live | Recorded, server: Server | None = None) -> None:
        self.server = server
        self.out, self.stdin = Pipe(), Pipe()
        os.set_blocking(self.out.reading.fileno(), False)
        self.records: list[Record] = []
        self.codes: list[int] = []
        self._reader = RelayReader()
        ends = (self.out.writing.fileno(), self.stdin.reading.fileno())
        self.thread = threading.Thread(target=lambda: self.codes.append(relay(source, *ends)))
        self.thread.start()

    def say(self, taken: int) -> None:
        self.stdin.writing.write(b"%d\n" % taken)

    def read(self) -> bool:
        """Whether something came."""
        if self.server is not None:
            self.server.poll()
        data = self.out.reading.read(1 << 16)
        self.records += self._reader.feed(data or b"")
        return bool(data)

    def until(self, done: Callable[[], bool], *, answer: bool = True, secs: float = 60.0) -> None:
        deadline = time.monotonic() + secs
        while not done():
            assert time.monotonic() < deadline, "waited in vain"
            if self.read() and answer:
                self.say(len(self.records))
            time.sleep(0.002)

    def over(self) -> bool:
        return not self.thread.is_alive()

    @property
    def seqs(self) -> list[int]:
        lines = [line for record in self.records for line in record.lines]
        return [frame.seq for line in lines if (frame := decode(line)) is not None]

    def close(self) -> None:
        self.stdin.writing.close()
        self.out.reading.close()
        self.thread.join(10)
        assert self.codes == [0]
        self.stdin.reading.close()
        self.out.writing.close()


@pytest.mark.parametrize("after", [0, FRAMES - 10])
def test_a_run_is_relayed_to_its_end(server: Server, after: int) -> None:
    server.publish(end := RunEnded(seq=FRAMES), encode(end))
    with closing(live(server, after)) as relayed:
        relayed.say(0)
        relayed.until(relayed.over)
        while relayed.read():
            pass
    assert relayed.seqs == list(range(after + 1, FRAMES + 1))
    assert relayed.records[-1].state == State("0a1b", "ended")


def test_the_far_end_says_when_it_has_told_what_was_known(server: Server) -> None:
    """Once: what comes later is news, and is not behind."""
    with closing(live(server)) as relayed:
        relayed.say(0)
        relayed.until(lambda: len(relayed.seqs) == FRAMES - 1)
        relayed.until(lambda: not relayed.records[-1].state.behind)
        told = [record for record in relayed.records if record.state.behind]
        assert sum(len(record.lines) for record in told) == FRAMES - 1
        server.publish(frame := Scalars(seq=FRAMES, step=FRAMES, values={"loss": 1.0}), encode(frame))
        relayed.until(lambda: len(relayed.seqs) == FRAMES)
    assert not any(record.state.behind for record in relayed.records[len(told) :])


def test_the_relay_ends_when_its_viewer_says_goodbye(server: Server) -> None:
    with closing(live(server)) as relayed:
        relayed.say(0)
        relayed.until(lambda: len(relayed.seqs) == FRAMES - 1)
        relayed.stdin.writing.close()
        relayed.until(relayed.over, answer=False)


def test_a_carrier_that_has_no_stdin_carries_a_run_all_the_same(server: Server) -> None:
    """``docker exec`` and ``kubectl exec`` without ``-i`` end it at once; then a pipe that is full tells the pace."""
    with closing(live(server)) as relayed:
        relayed.stdin.writing.close()
        relayed.until(lambda: len(relayed.seqs) == FRAMES - 1, answer=False)
        server.publish(end := RunEnded(seq=FRAMES), encode(end))
        relayed.until(relayed.over, answer=False)
        while relayed.read():
            pass
    assert relayed.seqs == list(range(1, FRAMES + 1))


def test_the_relay_ends_when_nobody_reads_it_any_more(server: Server) -> None:
    with closing(live(server)) as relayed:
        relayed.say(0)
        relayed.until(lambda: bool(relayed.records))
        relayed.out.reading.close()
        deadline = time.monotonic() + 10
        while not relayed.over():
            assert time.monotonic() < deadline
            server.poll()
            time.sleep(0.002)


def test_a_relay_whose_viewer_is_gone_without_a_word_ends(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a network goes away: nobody closes anything, and nobody answers."""
    with closing(live(server)) as relayed:
        relayed.say(0)
        relayed.until(lambda: len(relayed.seqs) == FRAMES - 1)
        assert not relayed.over()
        monkeypatch.setattr(far_end, "ABANDONED_SECS", 0.3)
        relayed.until(relayed.over, answer=False)


def test_what_a_viewer_says_that_makes_no_sense_is_ignored(server: Server) -> None:
    with closing(live(server)) as relayed:
        relayed.stdin.writing.write(b"0\n-5\nx\n\xff\n99999999999999999999999\n" + b"7" * 5000 + b"\n")
        relayed.until(lambda: len(relayed.seqs) == FRAMES - 1)


def test_a_silent_relay_still_beats(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a viewer can tell a silent connection from a silent training."""
    monkeypatch.setattr(room, "BEAT_SECS", 0.02)
    with closing(live(server)) as relayed:
        relayed.say(0)
        relayed.until(lambda: sum(not record.lines for record in relayed.records) >= 5)


def recorded_run(folder: Path, frames: int, *, ended: bool = True) -> Path:
    header = RunStarted(seq=1, run="0a1b", name="mlp", wall=1000.0)
    path = new_folder(folder / "recordings", header)
    with closing(Recorder(path, header)) as recorder:
        for seq in range(2, frames):
            frame = Scalars(
                seq=seq, step=seq, wall=1000 + seq / 100, values={"loss": 1e6 if seq == 777 else 1 / seq}
            )
            recorder.write(frame, encode(frame))
        if ended:
            recorder.write(end := RunEnded(seq=frames, error="ValueError: no"), encode(end))
    return path


@pytest.mark.parametrize("after", [0, 500, 1999, 2000])
@pytest.mark.parametrize("ended", [True, False])
def test_a_run_that_is_over_is_told_from_its_recording(tmp_path: Path, after: int, ended: bool) -> None:
    """Also only what came after a connection broke; and that it ended, or did not."""
    path = recorded_run(tmp_path, 2000, ended=ended)
    with closing(Relayed(Recorded(Recording.open(path), after=after))) as relayed:
        relayed.say(0)
        relayed.until(relayed.over)
        while relayed.read():
            pass
    assert relayed.seqs == list(range(after + 1, 2001 if ended else 2000))
    state = relayed.records[-1].state
    assert (state.run, state.phase) == ("0a1b", "ended" if ended else "ended early")
    assert ("no" if ended else "killed or crashed") in state.words


def test_a_long_recording_is_told_in_rows_without_a_gap_and_with_every_extreme(tmp_path: Path) -> None:
    path = recorded_run(tmp_path, 20_000)
    with closing(Recorded(Recording.open(path))) as source:
        frames: list[AnyFrame] = []
        while source.link.phase == "live":
            frames += source.read()
        assert source.link.phase == "ended" and source.link.lost == 0
    assert len(frames) < 12_000 and isinstance(frames[0], RunStarted) and isinstance(frames[-1], RunEnded)
    assert max(f.series["loss"][2] for f in frames if isinstance(f, Summary) and f.series) == 1e6
