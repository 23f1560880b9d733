"""A run watched through a real sshd on this machine: found, followed, cut off in every way, and nothing lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lsmon.protocol.cards import read_cards
from lsmon.protocol.errors import Unreachable
from lsmon.protocol.frames import UNNUMBERED, AnyFrame, RunEnded, RunStarted, Scalars
from lsmon.protocol.sources import remote as far
from lsmon.protocol.sources.remote import Remote
from lsmon.protocol.wire.carrier import ssh
from lsmon.tui.cli import main
from tests.sshd import SSHD, Sshd

pytestmark = pytest.mark.skipif(
    not SSHD or not shutil.which("ssh"), reason="needs sshd and ssh (apt-get install openssh-server)"
)

TRAINING = """
import sys, time
from pathlib import Path
from lsmon.protocol.cards import Card, remove_card, write_card
from lsmon.protocol.codec import encode
from lsmon.protocol.frames import Heartbeat, RunEnded, RunStarted, Scalars
from lsmon.protocol.process import this_process
from lsmon.protocol.recording.folder import new_folder
from lsmon.protocol.recording.writer import Recorder
from lsmon.protocol.wire.server import Server

me = this_process()
header = RunStarted(seq=1, run="0a1b", name="mlp", pid=me.pid)
server = Server(Path(sys.argv[1]), header)
folder = new_folder(Path(sys.argv[1]) / "recordings", header)
recorder = Recorder(folder, header)
write_card(Card(run="0a1b", name="mlp", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
                live=str(server.live), ask=str(server.ask), recording=str(folder)))
print("ready", flush=True)
seq, beat_at, stop = 1, 0.0, Path(sys.argv[1]) / "stop"
while not stop.exists():
    seq += 1
    server.publish(frame := Scalars(seq=seq, step=seq, values={"loss": 1 / seq}), encode(frame))
    recorder.write(frame, encode(frame))
    recorder.tick()
    if time.monotonic() > beat_at:
        server.publish(beat := Heartbeat(seq=seq), encode(beat))
        beat_at = time.monotonic() + 1
    server.poll()
    time.sleep(0.005)
server.publish(end := RunEnded(seq=seq + 1), encode(end))
recorder.write(end, encode(end))
recorder.close()
server.close()
remove_card("0a1b")
"""


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with (
        tempfile.TemporaryDirectory(prefix="lsmon-") as name,
        pytest.MonkeyPatch.context() as patch,
        closing(Sshd(Path(name), patch)) as sshd,
    ):
        yield sshd


@pytest.fixture
def training(sshd: Sshd) -> Iterator[subprocess.Popen[bytes]]:
    (sshd.folder / "stop").unlink(missing_ok=True)
    shutil.rmtree(sshd.folder / "recordings", ignore_errors=True)
    with subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(sshd.folder)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


class Viewer:
    """Watches a run on a host, and keeps every numbered frame."""

    def __init__(self, host: str = "box", *remote_command: str, run: str = "") -> None:
        self.source = Remote(ssh(host, remote_command), run)
        self.frames: list[AnyFrame] = []

    @property
    def phase(self) -> str:
        return self.source.link.phase

    @property
    def ssh(self) -> int:
        """Process id of the connection."""
        assert self.source._carried is not None
        return self.source._carried.pid

    def until(self, done: Callable[[], bool], secs: float = 60.0) -> None:
        deadline = time.monotonic() + secs
        while not done():
            assert time.monotonic() < deadline, f"waited in vain: {self.source.link}"
            self.frames += [frame for frame in self.source.read() if not isinstance(frame, UNNUMBERED)]
            time.sleep(0.005)

    def until_more(self, frames: int = 100) -> None:
        before = len(self.frames)
        self.until(lambda: len(self.frames) > before + frames)
        assert self.phase == "live"

    def until_end(self, sshd: Sshd) -> None:
        """The run ends; then every number from the header on has come, once, with its value."""
        (sshd.folder / "stop").touch()
        self.until(lambda: self.phase == "ended")
        assert self.source.link.lost == 0
        assert isinstance(self.frames[0], RunStarted) and isinstance(self.frames[-1], RunEnded)
        assert [frame.seq for frame in self.frames] == list(range(1, len(self.frames) + 1))
        for frame in self.frames:
            assert not isinstance(frame, Scalars) or frame.values["loss"] == pytest.approx(1 / frame.seq)

    def close(self) -> None:
        self.source.close()


def test_a_run_is_found_by_its_card_and_lsmon_by_the_python_that_trains(
    sshd: Sshd, training: subprocess.Popen[bytes]
) -> None:
    """Though no ``lsmon`` is on the PATH there, the shell is noisy, and forwarding is switched off."""
    with closing(Viewer()) as viewer:
        viewer.until_more()
        viewer.until_end(sshd)
    assert training.wait(10) == 0


def kill(viewer: Viewer, _: Sshd) -> None:
    os.kill(viewer.ssh, signal.SIGKILL)


def sleep(viewer: Viewer, _: Sshd) -> None:
    """As a laptop does: the connection is still there, and says nothing."""
    os.kill(viewer.ssh, signal.SIGSTOP)


def cut(_: Viewer, sshd: Sshd) -> None:
    sshd.wire.cut()


def forget(_: Viewer, sshd: Sshd) -> None:
    sshd.wire.forget()


@pytest.mark.parametrize(("happens", "times"), [(kill, 2), (sleep, 1), (cut, 1), (forget, 1)])
def test_a_connection_that_breaks_is_made_again_and_no_frame_is_lost(
    sshd: Sshd,
    training: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Viewer, Sshd], None],
    times: int,
) -> None:
    """By itself, though the run goes on meanwhile; a silence counts after some seconds."""
    monkeypatch.setattr(far, "SILENT_SECS", 2.5)
    with closing(Viewer("wire")) as viewer:
        viewer.until_more()
        for _ in range(times):
            happens(viewer, sshd)
            viewer.until(lambda: viewer.source.link.words.startswith("reconnecting to wire, attempt"))
            viewer.until_more()
        viewer.until_end(sshd)


@pytest.mark.parametrize("how", ["by itself", "killed"])
def test_a_run_that_ends_while_nobody_is_connected_is_told_to_its_end(
    sshd: Sshd, training: subprocess.Popen[bytes], how: str
) -> None:
    """From its recording; a laptop that was closed in the evening shows in the morning how it went."""
    with closing(Viewer("wire")) as viewer:
        viewer.until_more(50)
        os.kill(viewer.ssh, signal.SIGKILL)
        if how == "killed":
            training.kill()
        (sshd.folder / "stop").touch()
        training.wait(20)
        viewer.until(lambda: viewer.phase in ("ended", "ended early"))
        assert viewer.phase == ("ended" if how == "by itself" else "ended early")
        assert viewer.source.link.lost == 0
        assert [frame.seq for frame in viewer.frames] == list(range(1, len(viewer.frames) + 1))
        assert isinstance(viewer.frames[-1], RunEnded) == (how == "by itself")
    with closing(Viewer("box", run="mlp")) as late:
        late.until(lambda: late.phase in ("ended", "ended early"))
        assert late.frames == viewer.frames[: len(late.frames)]  # killed, what was not flushed is not in it


def test_the_users_master_connection_is_shared_and_left_alone_once_it_is_dead(
    sshd: Sshd, training: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a change of network a master hangs, and whatever goes over it hangs with it."""
    monkeypatch.setattr(far, "SILENT_SECS", 2.5)
    command = ["ssh", "-F", str(sshd.folder / "ssh_config"), "shared", "true"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = re.search(r"pid=(\d+)", sshd.control("check").stderr)
    assert found is not None
    logins = sshd.logins
    with closing(Viewer("shared")) as viewer:
        viewer.until_more()
        assert sshd.logins == logins
        os.kill(int(found[1]), signal.SIGSTOP)
        try:
            viewer.until(lambda: "no answer" in viewer.source.link.words)
            viewer.until_more()
            assert sshd.logins == logins + 1
            viewer.until_end(sshd)
        finally:
            os.kill(int(found[1]), signal.SIGKILL)


def test_jump_hosts_users_and_ports_are_those_of_the_users_config(
    sshd: Sshd, training: subprocess.Popen[bytes]
) -> None:
    logins = sshd.logins
    with closing(Viewer("behind")) as viewer:
        viewer.until_more(1)
        assert sshd.logins == logins + 2
    user = os.environ.get("USER") or "root"
    assert ssh(f"{user}@box").command()[-2] == f"{user}@box"
    with closing(Viewer(f"ssh://127.0.0.1:{sshd.port}")) as viewer:
        viewer.until_more(1)
        viewer.until_end(sshd)


def test_a_training_that_is_killed_there_is_dead_here_and_no_relay_stays(
    training: subprocess.Popen[bytes],
) -> None:
    with closing(Viewer()) as viewer:
        viewer.until_more(10)
        (card,) = read_cards()
        training.kill()
        training.wait()
        began = time.monotonic()
        viewer.until(lambda: viewer.phase == "dead")
        assert time.monotonic() - began < 5
        assert f"On box: The training process {card.pid} is gone" in viewer.source.link.words
        viewer.until(lambda: viewer.source._carried is None)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("box", "box says: .*No training"),
        ("nobody", "Cannot connect .*Connection refused"),
        ("stranger", "Cannot connect .*Permission denied.*cannot ask for a password.*ssh -o BatchMode=yes stranger"),
        ("changed", "Cannot connect "),
    ],
)  # fmt: skip
def test_what_cannot_be_watched_is_a_sentence(sshd: Sshd, host: str, words: str) -> None:
    """Without a run, without an sshd, with a key that is not let in, with a host that is not the one it was."""
    with closing(Viewer(host)) as viewer, pytest.raises(Unreachable, match=words):
        viewer.until(lambda: False)


def test_a_host_without_lsmon_is_told_with_the_remedy(sshd: Sshd) -> None:
    words = r"not installed there.*--remote-command.*box"
    with closing(Viewer("box", "/nowhere/lsmon")) as viewer, pytest.raises(Unreachable, match=words):
        viewer.until(lambda: False)


def test_the_command_line_lists_several_hosts_and_follows_a_run_by_name(
    sshd: Sshd, training: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """A bare name that the user's ssh config knows is a host; frames come out whole, and the exit code tells of losses."""
    assert main(["ls", "box", "gate", "nobody", "--json"]) == 1
    out, err = capsys.readouterr()
    assert [(run["place"], run["run"]) for run in json.loads(out)] == [("box", "0a1b"), ("gate", "0a1b")]
    assert "Connection refused" in err
    for target in ("box:mlp", "gate"):
        assert main(["tail", "box:nosuch"]) == 1
        assert "box says: No run, live or recorded, and no file is called 'nosuch'" in capsys.readouterr().err
        with subprocess.Popen(
            [sys.executable, "-m", "lsmon.tui", "tail", target, "--json"], stdout=subprocess.PIPE, text=True
        ) as tail:
            assert tail.stdout is not None
            lines = [json.loads(tail.stdout.readline()) for _ in range(50)]
            assert [frame["seq"] for frame in lines if "loss" in str(frame)][:3] == [2, 3, 4]
            tail.terminate()
