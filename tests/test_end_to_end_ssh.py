"""A run watched through a real sshd on this machine: found, followed, cut off in mid-stream, and nothing lost."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
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
from lsmon.protocol.sources.remote import Remote
from lsmon.protocol.wire.carrier import ssh

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
PRIVILEGE_SEPARATION = Path("/run/sshd")
"""Compiled into sshd; root's must exist, which is the package's or the service's business."""

pytestmark = pytest.mark.skipif(
    not SSHD or not shutil.which("ssh"), reason="needs sshd and ssh (apt-get install openssh-server)"
)

SSHD_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/user_key.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
DisableForwarding yes
ForceCommand echo "Welcome to a noisy shell."; eval "$SSH_ORIGINAL_COMMAND"
"""

SSH_CONFIG = """
Host box
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  IdentityAgent none
  StrictHostKeyChecking no
  UserKnownHostsFile {folder}/known_hosts
  LogLevel ERROR
Host nobody
  HostName 127.0.0.1
  Port {closed}
"""

TRAINING = """
import sys, time
from pathlib import Path
from lsmon.protocol.cards import Card, remove_card, write_card
from lsmon.protocol.codec import encode
from lsmon.protocol.frames import Heartbeat, RunEnded, RunStarted, Scalars
from lsmon.protocol.process import this_process
from lsmon.protocol.wire.server import Server

me = this_process()
server = Server(Path(sys.argv[1]), RunStarted(seq=1, run="0a1b", name="mlp", pid=me.pid))
write_card(Card(run="0a1b", name="mlp", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
                live=str(server.live), ask=str(server.ask)))
print("ready", flush=True)
seq, beat_at, stop = 1, 0.0, Path(sys.argv[1]) / "stop"
while not stop.exists():
    seq += 1
    server.publish(frame := Scalars(seq=seq, step=seq, values={"loss": 1 / seq}), encode(frame))
    if time.monotonic() > beat_at:
        server.publish(beat := Heartbeat(seq=seq), encode(beat))
        beat_at = time.monotonic() + 1
    server.poll()
    time.sleep(0.002)
server.publish(end := RunEnded(seq=seq + 1), encode(end))
server.close()
remove_card("0a1b")
"""


@pytest.fixture(scope="module")
def box() -> Iterator[Path]:
    """A folder that is the state of a host called ``box``, which $LSMON_SSH can reach."""
    with tempfile.TemporaryDirectory(prefix="lsmon-") as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        for key in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        values = {"port": _free_port(), "closed": _free_port(), "folder": folder, "user": getpass.getuser()}
        (folder / "sshd_config").write_text(SSHD_CONFIG.format(**values))
        (folder / "ssh_config").write_text(SSH_CONFIG.format(**values))
        made = os.getuid() == 0 and not PRIVILEGE_SEPARATION.exists()
        if made:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755)
        assert SSHD is not None
        with (folder / "log").open("wb") as log:
            sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
        try:
            patch.setenv("LSMON_DIR", name)
            patch.setenv("LSMON_SSH", f"ssh -F {folder}/ssh_config")
            deadline = time.monotonic() + 15
            knock = ssh("box", ("true",)).command()
            while subprocess.run(knock, check=False, capture_output=True).returncode:
                if sshd.poll() is not None or time.monotonic() > deadline:
                    pytest.skip(f"sshd does not serve here: {(folder / 'log').read_text()[-300:]}")
                time.sleep(0.05)
            yield folder
        finally:
            sshd.terminate()
            sshd.wait(10)
            if made:
                PRIVILEGE_SEPARATION.rmdir()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def training(box: Path) -> Iterator[subprocess.Popen[bytes]]:
    (box / "stop").unlink(missing_ok=True)
    with subprocess.Popen([sys.executable, "-c", TRAINING, str(box)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def remote(box: Path, host: str = "box") -> Remote:
    return Remote(ssh(host, ("env", f"LSMON_DIR={box}", sys.executable, "-m", "lsmon.tui")))


def phase(source: Remote) -> str:
    return source.link.phase


def read_until(source: Remote, done: Callable[[list[AnyFrame]], bool], secs: float = 30.0) -> list[AnyFrame]:
    frames: list[AnyFrame] = []
    deadline = time.monotonic() + secs
    while not done(frames):
        assert time.monotonic() < deadline, f"waited in vain: {source.link}"
        frames += [frame for frame in source.read() if not isinstance(frame, UNNUMBERED)]
        time.sleep(0.005)
    return frames


def test_killing_ssh_in_mid_stream_loses_no_frame(box: Path, training: subprocess.Popen[bytes]) -> None:
    """The run goes on, the connection comes back by itself, and every number from the header to the end is there."""
    with closing(remote(box)) as source:
        frames = read_until(source, lambda frames: len(frames) > 300)
        assert phase(source) == "live"
        assert source._carried is not None
        os.kill(source._carried.pid, signal.SIGKILL)
        frames += read_until(source, lambda _: source.link.words.startswith("reconnecting to box"))
        frames += read_until(source, lambda frames: len(frames) > 300)
        assert phase(source) == "live"
        (box / "stop").touch()
        frames += read_until(source, lambda frames: bool(frames) and isinstance(frames[-1], RunEnded))
        assert phase(source) == "ended" and source.link.lost == 0
    assert training.wait(10) == 0
    assert isinstance(frames[0], RunStarted)
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
    assert all(
        frame.values["loss"] == pytest.approx(1 / frame.seq) for frame in frames if isinstance(frame, Scalars)
    )


def test_a_training_that_is_killed_there_is_dead_here_and_no_relay_stays(
    box: Path, training: subprocess.Popen[bytes]
) -> None:
    with closing(remote(box)) as source:
        read_until(source, lambda frames: len(frames) > 10)
        (card,) = read_cards()
        training.kill()
        training.wait()
        began = time.monotonic()
        read_until(source, lambda _: source.link.phase == "dead")
        assert time.monotonic() - began < 5
        assert f"On box: The training process {card.pid} is gone" in source.link.words
        read_until(source, lambda _: source._carried is None)


def test_nothing_to_watch_and_nobody_there_are_a_sentence_each(box: Path) -> None:
    """Without a run, and without an sshd."""
    for host, words in (
        ("box", "box says: .*No training"),
        ("nobody", "Cannot connect .*Connection refused"),
    ):
        with closing(remote(box, host)) as source, pytest.raises(Unreachable, match=words):
            read_until(source, lambda _: False)
