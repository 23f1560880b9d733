"""TCP: nobody without a key that is allowed sees a byte, and whoever has one sees everything."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import zmq

from lsmon.protocol.codec import encode
from lsmon.protocol.errors import LsmonError, Unreachable, UsageError
from lsmon.protocol.frames import AnyFrame, Heartbeat, RunEnded, RunStarted, Scalars
from lsmon.protocol.sources.tcp import Tcp
from lsmon.protocol.wire import keys
from lsmon.protocol.wire.address import Address, address
from lsmon.protocol.wire.server import Server
from lsmon.protocol.wire.tcp import listening
from tests.clock import Clock
from tests.sshd import Wire, free_port


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lsmon-") as path:
        monkeypatch.setenv("LSMON_DIR", path)
        yield Path(path)


class Run:
    """A run that listens over TCP. Its user's own key is on the list: here both ends are the same user's."""

    def __init__(self, folder: Path, port: int = 0, pid: int = 1) -> None:
        self.at = address(f"tcp://127.0.0.1:{port or two_ports()}")
        pair = keys.own() or keys.make()
        keys.allow(pair.public, "me")
        self.address = self.at._replace(key=pair.public)
        self.server = Server(folder, RunStarted(seq=1, run=f"0a{pid}", name="mlp", pid=pid))
        self.server.listen(listening(self.at.live))
        self.pid = pid
        self.seq = 1

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.seq += 1
            frame = Scalars(seq=self.seq, step=self.seq, values={"loss": 1 / self.seq})
            self.server.publish(frame, encode(frame))
        self.server.publish(beat := Heartbeat(seq=self.seq, pid=self.pid), encode(beat))

    def read(self, viewer: Tcp, done: Callable[[list[AnyFrame]], bool], secs: float = 60.0) -> list[AnyFrame]:
        frames: list[AnyFrame] = []
        deadline = time.monotonic() + secs
        while not done(frames):
            assert time.monotonic() < deadline, f"waited in vain: {viewer.link}"
            self.server.poll()
            self.publish(0)  # a probe's heart beats once a second
            frames += [frame for frame in viewer.read() if not isinstance(frame, Heartbeat)]
            time.sleep(0.002)
        return frames

    def upto(self, viewer: Tcp, seq: int) -> list[AnyFrame]:
        return self.read(viewer, lambda frames: bool(frames) and frames[-1].seq >= seq)

    def close(self) -> None:
        self.server.close()


def two_ports() -> int:
    """A port that is free, as is the next."""
    while True:
        port = free_port()
        try:
            with zmq.Context() as context, context.socket(zmq.PAIR) as trial:
                trial.linger = 0
                trial.bind(f"tcp://127.0.0.1:{port + 1}")
                return port
        except zmq.ZMQError:
            continue


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    with closing(Run(folder)) as run:
        yield run


def phase(viewer: Tcp) -> str:
    return viewer.link.phase


def test_whoever_is_allowed_sees_a_run_from_its_header_to_its_end(run: Run) -> None:
    run.publish(300)
    with closing(Tcp(run.address)) as viewer:
        assert phase(viewer) == "connecting"
        frames = run.upto(viewer, 301)
        run.publish(50)
        frames += run.upto(viewer, 351)
        assert phase(viewer) == "live"
        run.server.publish(end := RunEnded(seq=352), encode(end))
        frames += run.upto(viewer, 352)
        assert phase(viewer) == "ended" and viewer.link.lost == 0
    assert isinstance(frames[0], RunStarted)
    assert [frame.seq for frame in frames] == list(range(1, 353))


def refusal(run: Run, viewer: Tcp) -> str:
    with closing(viewer), pytest.raises(Unreachable) as caught:
        run.read(viewer, lambda _: False)
    assert phase(viewer) == "dead"
    return str(caught.value)


def test_a_key_that_is_not_on_the_list_is_refused_until_it_is(run: Run) -> None:
    """At once, without a restart of the training; the sentence has the command that lets it in."""
    own = keys.own()
    assert own is not None
    run.publish(3)
    keys.forget("me")
    words = refusal(run, Tcp(run.address))
    assert f"lsmon keys allow {keys.shown(own.public)}" in words
    keys.allow(own.public)
    with closing(Tcp(run.address)) as viewer:
        assert len(run.upto(viewer, 4)) == 4


def test_a_list_that_others_could_have_written_lets_nobody_in(run: Run) -> None:
    run.publish(3)
    keys.allowed_file().chmod(0o622)
    assert "not allowed" in refusal(run, Tcp(run.address))


def test_who_answers_with_another_key_is_not_believed(run: Run) -> None:
    """As when somebody else listens where the run was."""
    stranger, _ = zmq.curve_keypair()
    assert "another key" in refusal(run, Tcp(run.address._replace(key=stranger)))


@pytest.mark.parametrize("dressed", [False, True], ids=["no key", "unknown key"])
def test_a_peer_without_an_allowed_key_gets_no_byte_and_can_ask_for_nothing(run: Run, dressed: bool) -> None:
    run.publish(10)
    with zmq.Context() as context, context.socket(zmq.SUB) as sub, context.socket(zmq.DEALER) as ask:
        for socket, endpoint in ((sub, run.at.live), (ask, run.at.ask)):
            socket.linger = 0
            if dressed:
                socket.curve_serverkey = run.address.key
                socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.connect(endpoint)
        sub.subscribe(b"")
        with suppress(zmq.Again):  # once it has been refused there is nobody to send to
            ask.send(b'{"after":0}', zmq.NOBLOCK)
        with closing(Tcp(run.address)) as viewer:  # what goes on meanwhile goes on
            assert len(run.upto(viewer, 11)) == 11
            run.publish(10)
            assert len(run.upto(viewer, 21)) == 10
        assert not sub.poll(100) and not ask.poll(0)
    assert run.server.ignored == 0


def test_a_broken_connection_is_made_again_and_no_frame_is_lost(run: Run) -> None:
    run.publish(10)
    port = two_ports()
    with (
        closing(Wire(run.at.port, port)) as live,
        closing(Wire(run.at.port + 1, port + 1)) as ask,
        closing(Tcp(run.address._replace(port=port))) as viewer,
    ):
        frames = run.upto(viewer, 11)
        for wires in ((live, ask), (live,), (ask,)):
            for wire in wires:
                wire.cut()
            run.publish(500)
            frames += run.upto(viewer, run.seq)
        assert viewer.link.lost == 0
    assert [frame.seq for frame in frames] == list(range(1, run.seq + 1))


def test_another_run_at_the_same_address_is_not_taken_for_it(folder: Path) -> None:
    with closing(Run(folder, pid=1)) as first:
        first.publish(100)
        with closing(Tcp(first.address)) as viewer:
            first.upto(viewer, 101)
            first.close()
            with closing(Run(folder, first.at.port, pid=2)) as second:

                def replaced(_: list[AnyFrame]) -> bool:
                    second.publish(1)
                    return phase(viewer) == "dead"

                assert second.read(viewer, replaced) == []
            assert "another one listens now" in viewer.link.words


def test_silence_is_told_and_nobody_there_is_an_error(run: Run) -> None:
    clock = Clock(100.0)
    run.publish(1)
    with closing(Tcp(run.address, clock=clock)) as viewer:
        run.upto(viewer, 2)
        clock.now += 4
        assert phase(viewer) == "stale" and "for 4 s" in viewer.link.words
    with closing(Tcp(run.address._replace(port=two_ports()), clock=clock)) as viewer:
        assert viewer.read() == []
        clock.now += 16
        with pytest.raises(Unreachable, match="No answer within 16 s"):
            viewer.read()


def test_without_keys_nothing_listens_and_nothing_connects() -> None:
    """A sentence with the commands, step by step."""
    where = "tcp://127.0.0.1:7000"
    with pytest.raises(UsageError, match="only with keys; make them with `lsmon keys make`"):
        listening(where)
    with pytest.raises(UsageError, match="`lsmon keys` where it trains"):
        Tcp(address(where))
    with pytest.raises(UsageError, match="You have no keys yet"):
        Tcp(address(where)._replace(key=zmq.curve_keypair()[0]))
    keys.make()
    with pytest.raises(UsageError, match="only for keys that are allowed, and none is"):
        listening(where)


def test_a_port_that_is_taken_is_told_and_the_run_is_watched_as_before(folder: Path, run: Run) -> None:
    server = Server(folder, RunStarted(seq=1, run="other"))
    with closing(server):
        for _ in range(2):
            with pytest.raises(LsmonError, match=r"TCP port .*in use.*listen="):
                server.listen(listening(run.at.live))


KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("words", "host", "port", "live"),
    [
        ("tcp://127.0.0.1:7000", "127.0.0.1", 7000, "tcp://127.0.0.1:7000"),
        ("tcp://*:1", "*", 1, "tcp://*:1"),
        (f"tcp://{KEY}@box-3.example.org:65534/", "box-3.example.org", 65534, "tcp://box-3.example.org:65534"),
        (f"tcp://{KEY.upper()}@[::1]:7000", "::1", 7000, "tcp://[::1]:7000"),
    ],
)  # fmt: skip
def test_addresses(words: str, host: str, port: int, live: str) -> None:
    at = address(words)
    assert at[:2] == (host, port) and at.live == live and at.ask == live.replace(str(port), str(port + 1))
    assert at.key == (keys.read(KEY) if "@" in words else b"")


@pytest.mark.parametrize(
    "words",
    ["tcp://", "tcp://box", "tcp://box:0", "tcp://box:65535", "tcp://box:99999", "tcp://box:70:0", "box:7000", "tcp://a b:7000",
     "tcp://box;tcp://x:7000", "tcp://key@box:7000", f"tcp://{KEY}0@box:7000", "tcp://\x1b[2J:7000"],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_a_sentence(words: str) -> None:
    with pytest.raises(UsageError) as caught:
        address(words)
    assert "\x1b" not in str(caught.value)


def test_key_files_are_for_their_owner_alone() -> None:
    made = keys.make()
    assert keys.own() == made
    assert [path.stat().st_mode & 0o777 for path in (keys.own_file(), keys.folder())] == [0o600, 0o700]
    keys.allow(made.public, "me\x1b[2J")
    assert keys.allowed_file().stat().st_mode & 0o777 == 0o600
    assert keys.allowed() == {made.public: "me␦[2J"}
    with pytest.raises(UsageError, match="There are keys already"):
        keys.make()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
@pytest.mark.parametrize("which", [keys.own_file, keys.allowed_file])
def test_a_file_that_others_could_read_or_write_is_refused(which: Callable[[], Path], mode: int) -> None:
    keys.allow(keys.make().public)
    which().chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        listening("tcp://127.0.0.1:7000")


@pytest.mark.parametrize("harm", ["folder", "link", "owner"])
def test_a_file_that_could_be_somebody_elses_is_refused(harm: str, folder: Path) -> None:
    keys.make()
    if harm == "folder":
        keys.folder().chmod(0o770)
    elif harm == "link":
        keys.own_file().rename(folder / "elsewhere")
        keys.own_file().symlink_to(folder / "elsewhere")
    elif os.getuid() == 0:
        os.chown(keys.own_file(), 65534, 65534)
    else:
        pytest.skip("giving a file away needs root")
    with pytest.raises(LsmonError, match="keys"):
        keys.own()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"hello\n", b"0" * 63, b"0" * (1 << 21)], ids=range(5))
def test_a_file_without_a_key_is_a_sentence(content: bytes) -> None:
    keys.make()
    keys.own_file().write_bytes(content)
    with pytest.raises(LsmonError, match="no key in the file"):
        keys.own()
    keys.allow(Address("x", 1, zmq.curve_keypair()[0]).key, "one")
    keys.allowed_file().write_bytes(content + b"\n" + keys.allowed_file().read_bytes())
    assert list(keys.allowed().values()) == ([] if len(content) > 1 << 20 else ["one"])
