"""Bad peers of a training's sockets: whatever they do, a healthy viewer is served and memory stays where it was."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmon.protocol.codec import encode
from lsmon.protocol.frames import Heartbeat, RunStarted, Scalars
from lsmon.protocol.wire import server as server_module
from lsmon.protocol.wire.client import REJECTS_A_READ, Client
from lsmon.protocol.wire.server import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and descriptors are read from /proc")

HEADER = RunStarted(seq=1, run="0a1b", name="mlp")
GROWTH = 8 << 20
"""Bytes that bad peers may cost a training, at most."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with (
        tempfile.TemporaryDirectory(prefix="lsmon-") as folder,
        closing(Server(Path(folder), HEADER)) as server,
    ):
        for seq in range(2, 100):
            server.publish(frame := Scalars(seq=seq, values={"loss": 1.0}), encode(frame))
        assert served(server)
        yield server


def served(server: Server) -> bool:
    """A healthy viewer joins and gets the whole history."""
    with closing(Client(str(server.live), str(server.ask))) as client:
        deadline = time.monotonic() + 10
        while client.order.last < 99:
            assert time.monotonic() < deadline
            server.poll()
            list(client.frames())
            time.sleep(0.001)
    return True


def memory() -> int:
    """Resident bytes now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def endure(server: Server, attack: str) -> float:
    """Publish and poll while the attack lasts, in a process of its own; the longest that one turn took, in seconds."""
    worst = 0.0
    code = f"live, ask = {str(server.live)!r}, {str(server.ask)!r}\n{textwrap.dedent(attack)}"
    with subprocess.Popen([sys.executable, "-c", code]) as attacker:
        while attacker.poll() is None:
            began = time.perf_counter()
            server.publish(beat := Heartbeat(seq=99), encode(beat))
            server.poll()
            worst = max(worst, time.perf_counter() - began)
            time.sleep(0.002)
    assert attacker.returncode == 0
    return worst


ZMQ_PEER = """
import time, zmq
context = zmq.Context()
context.linger = 0
peer = context.socket(zmq.{kind})
peer.rcvhwm = 1
peer.sndtimeo = 50
peer.connect("ipc://" + {path})
try:
    for number in range({count}):
        peer.send({message})
except zmq.Again:
    pass
time.sleep(0.2)
context.destroy()
"""


def test_random_bytes_and_broken_greetings_are_cut_off(server: Server) -> None:
    attack = """
    import random, socket
    dice = random.Random(0)
    for path in (live, ask) * 30:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)  # with a time limit it would not wait for room in the queue
            peer.settimeout(1)
            greeting = b"\\xff\\0\\0\\0\\0\\0\\0\\0\\1\\x7f\\3\\0NULL" + b"\\0" * 48 if dice.random() < 0.5 else b""
            try:
                peer.sendall(greeting + dice.randbytes(dice.choice([1, 100, 10_000])))
            except OSError:
                pass
    """
    before = memory()
    endure(server, attack)
    assert served(server) and memory() - before < GROWTH


@pytest.mark.parametrize(
    ("kind", "path", "count", "message"),
    [
        ("XSUB", "live", 3000, "b'\\1' + str(number).encode().ljust(2000, b'x')"),
        ("XSUB", "live", 5000, "b'\\1' + str(number).encode()"),
        ("XSUB", "live", 50_000, "b'\\1' + __import__('os').urandom(60)"),
        ("XSUB", "live", 5000, "b'f' + bytes(200)"),
        ("XSUB", "live", 3, "b'f' + bytes(30 << 20)"),
        ("DEALER", "ask", 2000, "b'{\"after\":0}'"),
        ("DEALER", "ask", 3, "bytes(30 << 20)"),
    ],
    ids=[
        "long topics",
        "many topics",
        "endless topics",
        "messages",
        "huge messages",
        "requests",
        "huge requests",
    ],
)
def test_a_flood_is_refused_or_drained(
    server: Server, kind: str, path: str, count: int, message: str
) -> None:
    """6 MB of subscriptions of 2000 bytes took a plain PUB to 300 MB, and 40 MB of them stopped it for seconds.
    Requests whose answers nobody reads are answered three times."""
    before = memory()
    worst = endure(server, ZMQ_PEER.format(kind=kind, path=path, count=count, message=message))
    assert served(server) and memory() - before < GROWTH
    assert worst < 1.0  # 20 ms here; it guards against seconds


@pytest.mark.parametrize(
    "parts",
    [[b""], [b"{"], [b"\xff"], [b"[" * 4000], [b"1", b"2"], [b'{"after":"x"}'], [b'{"after":-5}'], [b'{"after":1e99}']],
)  # fmt: skip
def test_requests_that_make_no_sense_are_ignored(server: Server, parts: list[bytes]) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.connect(f"ipc://{server.ask}")
        peer.send_multipart(parts)
        assert served(server)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_peer_that_only_connects_is_let_go(server: Server) -> None:
    """After the handshake's two seconds the training has its descriptors back."""
    before = descriptors()
    peers = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    for peer in peers:
        peer.connect(os.fspath(server.live))
    deadline = time.monotonic() + 10
    while descriptors() > before + len(peers):
        assert time.monotonic() < deadline
        server.poll()
        time.sleep(0.02)
    for peer in peers:
        peer.close()


def test_who_came_and_went_is_let_go_though_nothing_it_asked_for_was_sent(server: Server) -> None:
    """A connection stays open until what it sent has been read: three hundred that asked and left were 300 descriptors,
    two of them closed at each poll."""
    greeting = b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL" + bytes(48)
    ready = b"\4\x1c\5READY\x0bSocket-Type\0\0\0\6DEALER"
    before = descriptors()
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(os.fspath(server.ask))
            peer.sendall(greeting + ready + b'\0\x0b{"after":0}')
    deadline = time.monotonic() + 10
    while descriptors() > before:
        assert time.monotonic() < deadline
        server.poll()
        time.sleep(0.02)
    assert server._desk._asked == {}
    assert served(server)


def test_peers_of_old_protocols_are_refused(server: Server) -> None:
    """What does not begin as ZMTP 3 does was taken for ZMTP 1, and each such connection cost 20 kB for ever."""
    attack = """
    import random, socket
    dice = random.Random(0)
    for path in (live, ask) * 500:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            peer.settimeout(5)
            try:
                peer.sendall(b"\\x01\\x00" + dice.randbytes(10_000))
            except OSError:
                pass
    """
    before = memory()
    endure(server, attack)
    assert served(server) and memory() - before < GROWTH


def test_what_is_crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the lowest descriptor that is free: three quarters of what the process may have are open."""
    for most, lowest, crowded in ((100, 75, False), (100, 76, True), (resource.RLIM_INFINITY, 10**6, False)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, most=most: (most, most))
        monkeypatch.setattr(os, "dup", lambda _, lowest=lowest: lowest)
        monkeypatch.setattr(os, "close", lambda _: None)
        assert server_module._crowded() is crowded
    for error, crowded in ((errno.EMFILE, True), (errno.EBADF, False)):

        def fails(_: int, error: int = error) -> int:
            raise OSError(error, "")

        monkeypatch.setattr(os, "dup", fails)
        assert server_module._crowded() is crowded


def test_the_training_keeps_descriptors_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """When few are left nobody is let in, and who was there is cut off; later he comes back and has missed nothing."""
    now = 0.0
    with tempfile.TemporaryDirectory(prefix="lsmon-") as folder, closing(
        Server(Path(folder), HEADER, clock=lambda: now)
    ) as server, closing(Client(str(server.live), str(server.ask))) as old:  # fmt: skip
        until_heard(server, old)
        with monkeypatch.context() as few:
            few.setattr(server_module, "_crowded", lambda: True)
            server.poll()
            now += 2.0
            server.poll()
            deadline = time.monotonic() + 10
            while not (
                refused(server.live) and refused(server.ask)
            ):  # libzmq's thread closes what it listened on
                assert time.monotonic() < deadline
                time.sleep(0.001)
            assert "ulimit" in server.trouble
            server.publish(frame := Scalars(seq=2, values={"loss": 1.0}), encode(frame))
        now += 2.0
        server.poll()
        assert server.trouble == ""
        until_seen(server, old, 2)
        assert old.order.lost == 0


def refused(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.connect(os.fspath(path))
        except ConnectionRefusedError:
            return True
    return False


def until_heard(server: Server, client: Client) -> None:
    """Both of its sockets are connected."""
    deadline = time.monotonic() + 10
    while not any(isinstance(frame, Heartbeat) for frame in client.frames()):
        assert time.monotonic() < deadline
        server.publish(beat := Heartbeat(seq=1), encode(beat))
        server.poll()
        time.sleep(0.001)


def until_seen(server: Server, client: Client, last: int) -> None:
    deadline = time.monotonic() + 10
    while client.order.last < last:
        assert time.monotonic() < deadline
        server.publish(beat := Heartbeat(seq=last), encode(beat))
        server.poll()
        list(client.frames())
        time.sleep(0.001)


class Hostile:
    """A server that answers what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.context = zmq.Context()
        self.context.linger = 0
        self.publisher, self.router = self.context.socket(zmq.PUB), self.context.socket(zmq.ROUTER)
        self.publisher.bind(f"ipc://{folder}/live")
        self.router.bind(f"ipc://{folder}/ask")
        self.client = Client(f"{folder}/live", f"{folder}/ask")

    def answer(self, parts: list[bytes]) -> bool:
        if not self.router.poll(0):
            return False
        peer, _ = self.router.recv_multipart()
        self.router.send_multipart([peer, *parts])
        return True

    def close(self) -> None:
        self.client.close()
        self.context.destroy()


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    with tempfile.TemporaryDirectory(prefix="lsmon-") as folder, closing(Hostile(Path(folder))) as hostile:
        yield hostile


def test_a_flood_of_rubbish_holds_a_viewer_no_longer_than_a_glance(hostile: Hostile) -> None:
    client = hostile.client
    deadline = time.monotonic() + 30
    while client._asking:
        assert time.monotonic() < deadline
        hostile.answer([b'{"upto":0}', b""])
        list(client.frames())
    while not client.bad:
        assert time.monotonic() < deadline
        hostile.publisher.send(b"frubbish")
        list(client.frames())
        time.sleep(0.01)  # else more pile up on a busy machine than are queued before the next are dropped
    for _ in range(900):
        hostile.publisher.send(b"frubbish")
    before = client.bad
    while client.bad < before + 900:
        assert time.monotonic() < deadline
        so_far = client.bad
        assert list(client.frames()) == [] and client.bad - so_far <= REJECTS_A_READ


def test_what_history_has_brought_already_is_passed_over_in_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a viewer behind 5000 frames a second would pass over fewer than come, and show nothing new any more."""
    with closing(Client(f"{tmp_path}/live", f"{tmp_path}/ask", after=6000)) as client:
        waiting = [b"f" + encode(Scalars(seq=seq, values={"loss": 1.0})) for seq in range(1, 6002)]
        monkeypatch.setattr(client, "_receive", lambda most: [waiting.pop(0) for _ in waiting[:most]])
        client.give_up()
        assert [frame.seq for frame in client.frames()] == [6001]


HEADS = st.sampled_from(
    [b"", b"{}", b'{"after":0,"upto":5,"more":true}', b'{"after":0,"more":true}', b"[", b'{"upto":-1}', b'{"lost":1e9}']
)  # fmt: skip


@given(head=HEADS, body=st.binary(max_size=200), extra=st.lists(st.binary(max_size=10), max_size=2))
@settings(max_examples=50, deadline=None)
def test_a_viewer_survives_any_answer(hostile: Hostile, head: bytes, body: bytes, extra: list[bytes]) -> None:
    """Nothing is raised, nothing is shown that is not a frame, and nothing is held that was not asked for."""
    client = hostile.client
    client._want_history(client.order.last)
    deadline = time.monotonic() + 5
    while not hostile.answer([head, body, *extra]) and time.monotonic() < deadline:
        list(client.frames())
        time.sleep(0.0005)
    hostile.publisher.send(b"f" + body)
    list(client.frames())
    assert len(client._page) <= len(body) + 1 and len(client._buffer) <= 5000
