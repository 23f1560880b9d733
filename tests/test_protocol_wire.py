"""The sockets: who may listen where, what a viewer gets, and that nobody is ever waited for."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lsmon.protocol.codec import encode
from lsmon.protocol.errors import LsmonError, NewerFormat, Unreachable
from lsmon.protocol.frames import AnyFrame, Heartbeat, Layers, RunEnded, RunStarted, Scalars
from lsmon.protocol.wire.client import Client
from lsmon.protocol.wire.server import Server
from tests.waiting import until

HEADER = RunStarted(seq=1, run="0a1b", name="mlp")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lsmon-") as path:
        yield Path(path)


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with closing(Server(folder, HEADER)) as server:
        yield server


def joined(server: Server, after: int = 0) -> Client:
    return Client(str(server.live), str(server.ask), after=after)


def publish(server: Server, *seqs: int) -> None:
    for seq in seqs:
        frame = Scalars(seq=seq, step=seq, values={"loss": 1 / seq})
        server.publish(frame, encode(frame))


def read_until(server: Server | None, client: Client, last: int, secs: float = 60.0) -> list[AnyFrame]:
    """All frames up to number ``last``."""
    frames: list[AnyFrame] = []

    def done() -> bool:
        if server is not None:
            server.poll()
            beat = Heartbeat(seq=server._history.page(last - 1).upto)  # a probe sends one a second
            server.publish(beat, encode(beat))
        frames.extend(client.frames())
        return client.order.last >= last

    until(done, secs)
    return frames


def seqs(frames: list[AnyFrame]) -> list[int]:
    return [frame.seq for frame in frames if not isinstance(frame, Heartbeat)]


def test_a_late_joiner_gets_header_history_and_live_frames_once_each(server: Server) -> None:
    publish(server, *range(2, 500))
    with closing(joined(server)) as client:
        frames = read_until(server, client, 499)
        publish(server, *range(500, 600))
        frames += read_until(server, client, 599)
    assert isinstance(frames[0], RunStarted) and frames[0].name == "mlp"
    assert seqs(frames) == list(range(1, 600)) and client.order.lost == 0


def test_frames_published_while_history_is_read_are_neither_lost_nor_doubled(server: Server) -> None:
    """Publishing goes on at every turn of the joining, page by page."""
    publish(server, *range(2, 8000))
    next_seq = 8000
    frames: list[AnyFrame] = []
    with closing(joined(server)) as client:
        while next_seq < 9000:
            publish(server, *range(next_seq, next_seq + 7))
            next_seq += 7
            server.poll()
            frames += client.frames()
        frames += read_until(server, client, next_seq - 1)
    assert seqs(frames) == list(range(1, next_seq)) and client.order.lost == 0


def test_a_viewer_that_slept_fills_its_gap_from_history(server: Server) -> None:
    """The publisher drops what a sleeper does not read; the gap shows by its numbers and is asked for."""
    with closing(joined(server)) as client:
        publish(server, 2)
        frames = read_until(server, client, 2)
        publish(server, *range(3, 8000))
        frames += read_until(server, client, 7999)
    assert seqs(frames) == list(range(1, 8000)) and client.order.lost == 0


def test_a_frame_too_long_to_be_published_comes_through_history(server: Server) -> None:
    with closing(joined(server)) as client:
        publish(server, 2)
        read_until(server, client, 2)
        long = Layers(seq=3, names=tuple(f"layer{n}" for n in range(20_000)))
        server.publish(long, encode(long))
        publish(server, 4)
        frames = read_until(server, client, 4)
    assert seqs(frames) == [3, 4] and long in frames


def test_a_heartbeat_gives_away_that_the_last_frame_was_dropped(server: Server) -> None:
    """Without a next frame the number that it repeats is the only sign."""
    with closing(joined(server)) as client:
        publish(server, 2)
        read_until(server, client, 2)
        server._history.add(frame := Scalars(seq=3, values={"loss": 1.0}), encode(frame))  # never sent
        server.publish(beat := Heartbeat(seq=3), encode(beat))
        assert seqs(read_until(server, client, 3)) == [3]


def test_what_no_history_remembers_is_counted_as_lost(server: Server) -> None:
    with closing(joined(server)) as client:
        publish(server, 2, 10)
        assert seqs(read_until(server, client, 10)) == [1, 2, 10]
        assert client.order.lost == 7


def test_the_last_frame_arrives_though_the_server_closes_at_once(server: Server) -> None:
    with closing(joined(server)) as client:
        publish(server, 2)
        read_until(server, client, 2)
        publish(server, *range(3, 600))
        server.publish(end := RunEnded(seq=600), encode(end))
        server.close()
        frames = read_until(None, client, 600)
    assert isinstance(frames[-1], RunEnded) and seqs(frames) == list(range(3, 601))


def test_a_server_is_quiet_until_somebody_comes_and_again_when_the_last_has_left(server: Server) -> None:
    """Then the training's sender may sleep longer."""

    def quiet(wanted: bool) -> bool:
        server.poll()
        return server.quiet is wanted

    until(lambda: quiet(True))
    with closing(joined(server)) as client:
        read_until(server, client, 1)
        until(lambda: quiet(False))
        server.poll()
        assert not server.quiet, "who listens need not say anything"
        with closing(joined(server)) as other:
            read_until(server, other, 1)
        for _ in range(50):
            server.poll()
            assert not server.quiet, "one is still there"
    until(lambda: quiet(True))


def test_files_are_private_and_leave_with_the_server(folder: Path) -> None:
    server = Server(folder, HEADER)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    server.close()
    server.close()
    assert not list(folder.iterdir())


def test_a_live_socket_is_not_stolen_and_a_stale_file_is_replaced(folder: Path) -> None:
    with closing(Server(folder, HEADER)) as first:
        with pytest.raises(LsmonError, match="already in use"):
            Server(folder, HEADER)
        assert first.live.exists()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(first.live))
    with closing(Server(folder, HEADER)) as second, closing(joined(second)) as client:
        publish(second, 2)
        assert seqs(read_until(second, client, 2)) == [1, 2]
    first.live.write_text("somebody's notes")
    with pytest.raises(LsmonError, match="in use"):
        Server(folder, HEADER)
    assert first.live.read_text() == "somebody's notes"


def test_a_path_that_is_too_long_is_told_in_a_sentence(folder: Path) -> None:
    deep = folder / ("x" * 100)
    deep.mkdir()
    with pytest.raises(LsmonError, match="set LSMON_RUNTIME_DIR"):
        Server(deep, HEADER)
    with pytest.raises(Unreachable, match="no usable socket"):
        Client(f"/{'x' * 200}", "/tmp/x")
    with pytest.raises(Unreachable):
        Client("relative", "@abstract")


@pytest.mark.parametrize("also_its_folder", [False, True])
def test_a_deleted_file_comes_back_and_viewers_with_it(folder: Path, also_its_folder: bool) -> None:
    """As after a clean-up of temporary files, or with the folder at the last logout."""
    now = 0.0
    folder = folder / "sockets"
    folder.mkdir(mode=0o700)
    with closing(Server(folder, HEADER, clock=lambda: now)) as server, closing(joined(server)) as old:
        publish(server, 2)
        read_until(server, old, 2)
        server.live.unlink()
        server.ask.unlink()
        if also_its_folder:
            folder.rmdir()
        server.poll()
        assert not server.live.exists()
        now += 2.0
        server.poll()
        assert stat.S_IMODE(server.live.stat().st_mode) == 0o600
        with closing(joined(server)) as new:
            assert seqs(read_until(server, new, 2)) == [1, 2]
        publish(server, *range(3, 100))
        assert seqs(read_until(server, old, 99)) == list(range(3, 100)) and old.order.lost == 0


def test_a_path_taken_by_another_is_left_to_it_and_said(folder: Path) -> None:
    now = 0.0
    with closing(Server(folder, HEADER, clock=lambda: now)) as server, socket.socket(socket.AF_UNIX) as thief:
        server.live.unlink()
        thief.bind(os.fspath(server.live))
        thief.listen()
        now += 2.0
        server.poll()
        assert "already in use" in server.trouble
        server.live.unlink()
        now += 2.0
        server.poll()
        assert not server.trouble
        with closing(joined(server)) as client:
            publish(server, 2)
            assert seqs(read_until(server, client, 2)) == [1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are read from /proc")
def test_a_forked_child_neither_listens_nor_disturbs(server: Server) -> None:
    """It holds no listening descriptor, its calls do nothing, and it ends at once."""
    with closing(joined(server)) as client:
        publish(server, 2)
        read_until(server, client, 2)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            publish(server, 77)
            server.poll()
            server.close()
            os.read(reading, 1)
            os._exit(sum(_listens(fd) for fd in Path("/proc/self/fd").iterdir()))
        os.close(reading)
        publish(server, 3)
        assert seqs(read_until(server, client, 3)) == [3]
        assert server.live.exists() and server.ask.exists()
        os.close(writing)
        assert os.waitpid(child, 0)[1] == 0


def _listens(path: Path) -> bool:
    try:
        with socket.socket(fileno=os.dup(int(path.name))) as found:
            return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


@pytest.mark.parametrize("stopped", [signal.SIGSTOP, 0])
def test_close_does_not_wait_for_a_reader_that_stopped(server: Server, stopped: int) -> None:
    """Neither for one that never reads: 0.2 s are given to the last frame, and no more."""
    code = (
        "import sys, time; from lsmon.protocol.wire.client import Client\n"
        f"client = Client({str(server.live)!r}, {str(server.ask)!r})\n"
        "while client.order.last < 2: list(client.frames())\n"
        "print(flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        os.set_blocking(reader.stdout.fileno(), False)
        publish(server, 2)

        def ready() -> bool:
            server.poll()
            return bool(reader.stdout and reader.stdout.read())

        until(ready, 20)
        if stopped:
            reader.send_signal(stopped)
        worst = 0.0
        for seq in range(3, 8000):
            began = time.perf_counter()
            publish(server, seq)
            worst = max(worst, time.perf_counter() - began)
        began = time.monotonic()
        server.close()
        took = time.monotonic() - began
        reader.kill()
    assert worst < 1.0  # a blocked send took 4.5 s and more; the rest is the machine's own noise
    assert took < 2.0


def test_a_run_that_speaks_a_later_protocol_is_refused_in_a_sentence(server: Server) -> None:
    with closing(joined(server)) as client:
        server._history._header = server._history._header._replace(
            data=encode(RunStarted(seq=1, run="r", format=99))
        )
        with pytest.raises(NewerFormat, match="update lsmon here"):
            read_until(server, client, 1)
