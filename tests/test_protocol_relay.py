"""The relay's bytes: read in any pieces, after any noise, and never more of them than fit."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmon.protocol.cards import Card
from lsmon.protocol.codec import decode, encode
from lsmon.protocol.errors import LsmonError, NewerFormat, Unreachable
from lsmon.protocol.frames import Heartbeat, RunEnded, RunStarted, Scalars
from lsmon.protocol.process import this_process
from lsmon.protocol.wire import relay as room
from lsmon.protocol.wire.relay import MAGIC, NOISE_BYTES, VERSION, Record, RelayReader, State, records, relay
from lsmon.protocol.wire.server import Server

HELLO = MAGIC + VERSION


def one(*lines: bytes, state: State | None = None) -> bytes:
    return b"".join(records(state or State("r", "live"), list(lines)))


def fed(data: bytes, size: int) -> list[Record]:
    reader = RelayReader()
    return [record for at in range(0, len(data), size) for record in reader.feed(data[at : at + size])]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_records_come_out_whatever_the_pieces(size: int) -> None:
    data = HELLO + one(b"a", b"b") + one() + one(b"c", state=State("r", "stale", "slow"))
    assert fed(b"Last login: now\n" + data, size) == [
        (State("r", "live"), [b"a", b"b"]),
        (State("r", "live"), []),
        (State("r", "stale", "slow"), [b"c"]),
    ]


def test_much_is_sent_in_several_records() -> None:
    lines = [bytes([65 + n % 26]) * 1000 for n in range(1000)]
    parts = list(records(State(), lines))
    assert len(parts) > 3
    assert [line for record in fed(HELLO + b"".join(parts), 1 << 20) for line in record.lines] == lines


def test_noise_is_skipped_up_to_64_kib() -> None:
    noise = b"welcome to box-3\n" * 3000
    assert len(noise) < NOISE_BYTES
    assert len(fed(noise + HELLO + one(b"a"), 4096)) == 1
    with pytest.raises(Unreachable, match="prints more at start-up"):
        fed(b"\0" * (NOISE_BYTES + 1), 4096)


def test_a_later_relay_is_refused_in_a_sentence() -> None:
    with pytest.raises(NewerFormat, match="update lsmon here"):
        fed(MAGIC + b"2\n", 100)


def test_words_from_the_far_end_are_cleaned() -> None:
    ((state, _),) = fed(HELLO + one(state=State("a\x1b[2J", "stale", "x\x1b]0;y\x07")), 100)
    assert state == State("a␦[2J", "stale", "x␦]0;y␦")


def _bomb() -> bytes:
    packed = zlib.compress(b"0" * (64 << 20))
    return struct.pack(">I", len(packed)) + packed


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff", struct.pack(">I", 3) + b"abc", struct.pack(">I", 0), _bomb(),
        struct.pack(">I", len(zlib.compress(b"{"))) + zlib.compress(b"{"),
        struct.pack(">I", len(zlib.compress(b'{"phase":"x"}'))) + zlib.compress(b'{"phase":"x"}'),
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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="lsmon-") as folder:
        monkeypatch.setenv("LSMON_DIR", folder)
        with closing(Server(Path(folder), RunStarted(seq=1, run="0a1b", name="mlp"))) as server:
            for seq in range(2, 3000):
                server.publish(frame := Scalars(seq=seq, step=seq, values={"loss": 1.0}), encode(frame))
            yield server


def card_of(server: Server) -> Card:
    me = this_process()
    return Card(
        run="0a1b", name="mlp", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
        live=str(server.live), ask=str(server.ask),
    )  # fmt: skip


class Relayed:
    """A relay in a thread, and what came out of it; the server is looked after meanwhile."""

    def __init__(self, server: Server, out: BinaryIO, stdin: Pipe, after: int = 0) -> None:
        self.codes: list[int] = []
        self.server = server
        self.thread = threading.Thread(
            target=lambda: self.codes.append(relay(card_of(server), out, stdin.reading, after))
        )
        self.thread.start()

    def until_over(self, secs: float = 10.0) -> None:
        deadline = time.monotonic() + secs
        while self.thread.is_alive():
            assert time.monotonic() < deadline
            self.server.poll()
            self.thread.join(0.002)


@pytest.mark.parametrize("after", [0, 2990])
def test_a_run_is_relayed_to_its_end(server: Server, after: int) -> None:
    out = io.BytesIO()
    with closing(Pipe()) as stdin:
        server.publish(end := RunEnded(seq=3000), encode(end))
        relayed = Relayed(server, out, stdin, after)
        relayed.until_over()
    got = fed(out.getvalue(), 1 << 16)
    seqs = [frame.seq for record in got for line in record.lines if (frame := decode(line)) is not None]
    assert seqs == list(range(after + 1, 3001)) and relayed.codes == [0]
    assert got[-1].state == State("0a1b", "ended")


def test_the_relay_ends_when_its_stdin_does(server: Server) -> None:
    out = io.BytesIO()
    with closing(Pipe()) as stdin:
        relayed = Relayed(server, out, stdin)
        stdin.writing.close()
        relayed.until_over()
    assert relayed.codes == [0]


def test_the_relay_ends_when_nobody_reads_it_any_more(server: Server) -> None:
    with closing(Pipe()) as stdin, closing(Pipe()) as out:
        relayed = Relayed(server, out.writing, stdin)
        assert out.reading.read(len(HELLO)) == HELLO
        out.reading.close()
        relayed.until_over()
    assert relayed.codes == [0]


def test_a_silent_relay_still_beats(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a viewer can tell a silent connection from a silent training."""
    monkeypatch.setattr(room, "BEAT_SECS", 0.02)
    with closing(Pipe()) as stdin, closing(Pipe()) as out:
        relayed = Relayed(server, out.writing, stdin)
        reader, empty = RelayReader(), 0
        while empty < 5:
            server.poll()
            empty += sum(not record.lines for record in reader.feed(out.reading.read(1 << 16)))
        server.publish(beat := Heartbeat(seq=2999), encode(beat))
        stdin.writing.close()
        out.reading.close()
        relayed.until_over()
