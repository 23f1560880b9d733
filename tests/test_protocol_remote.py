"""The remote source over a stand-in for ssh: reconnecting without a loss, and one sentence for whatever fails."""

from __future__ import annotations

import os
import re
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from lsmon.protocol.cards import Card, remove_card, write_card
from lsmon.protocol.codec import encode
from lsmon.protocol.errors import LsmonError, NewerFormat, Unreachable, UsageError
from lsmon.protocol.frames import AnyFrame, RunEnded, RunStarted, Scalars
from lsmon.protocol.process import this_process
from lsmon.protocol.sources.remote import Remote
from lsmon.protocol.wire.carrier import ssh
from lsmon.protocol.wire.records import LONGEST, MAGIC, VERSION, Packer, State
from lsmon.protocol.wire.server import Server

SSH = """
import os, subprocess, sys
open(os.environ["FAKE_SSH_LOG"], "a").write(repr(sys.argv[1:]) + "\\n")
if trouble := os.environ.get("FAKE_SSH_TROUBLE"):
    sys.exit(subprocess.call(["sh", "-c", trouble]))
print("Welcome to box-3!")
sys.stdout.flush()
os.execvp("sh", ["sh", "-c", sys.argv[-1]])
"""

RELAY = """
import sys
from lsmon.protocol.cards import read_cards
from lsmon.protocol.sources.live import Live
from lsmon.protocol.wire.relay import relay
args = sys.argv[2:]
after = int(args.pop(args.index("--after") + 1)) if "--after" in args else 0
cards = [card for card in read_cards() if args[:1] in ([], ["--after"], [card.run])]
sys.exit(relay(Live(cards[0], after=after), sys.stdout.fileno(), sys.stdin.fileno()) if cards else "lsmon: No live run is called 'x'.")
"""


class Far:
    """The other host: a run there, and the words by which it is called."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "calls"
        self.command = (sys.executable, str(folder / "relay.py"))
        (folder / "relay.py").write_text(RELAY)
        (folder / "ssh.py").write_text(SSH)
        self.server = Server(folder, RunStarted(seq=1, run="0a1b", name="mlp"))
        self.seq = 1
        me = this_process()
        self.card = Card(
            run="0a1b", name="mlp", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
            live=str(self.server.live), ask=str(self.server.ask),
        )  # fmt: skip
        write_card(self.card)

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.seq += 1
            frame = Scalars(seq=self.seq, step=self.seq, values={"loss": 1 / self.seq})
            self.server.publish(frame, encode(frame))

    def remote(self, run: str = "", **options: Callable[[], float]) -> Remote:
        return Remote(ssh("box-3", self.command), run, **options)

    def close(self) -> None:
        self.server.close()


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    with tempfile.TemporaryDirectory(prefix="lsmon-") as folder:
        monkeypatch.setenv("LSMON_DIR", folder)
        monkeypatch.setenv("LSMON_SSH", f"{sys.executable} {folder}/ssh.py")
        monkeypatch.setenv("FAKE_SSH_LOG", f"{folder}/calls")
        with closing(Far(Path(folder))) as far:
            yield far


def read_until(far: Far, remote: Remote, last: int, secs: float = 15.0) -> list[AnyFrame]:
    frames: list[AnyFrame] = []
    deadline = time.monotonic() + secs
    while not frames or frames[-1].seq < last:
        assert time.monotonic() < deadline, f"waited in vain: {remote.link}"
        far.server.poll()
        frames += remote.read()
        time.sleep(0.002)
    return frames


def phase(remote: Remote) -> str:
    return remote.link.phase


def trouble(far: Far, remote: Remote, secs: float = 15.0) -> LsmonError:
    """The error with which reading ends."""
    deadline = time.monotonic() + secs
    with closing(remote), pytest.raises(LsmonError) as caught:
        while time.monotonic() < deadline:
            far.server.poll()
            remote.read()
            time.sleep(0.002)
    assert remote.link.phase == "dead" and remote.link.words == str(caught.value)
    with pytest.raises(LsmonError):
        remote.read()
    return caught.value


def test_the_command_is_quoted_for_the_far_shell_and_takes_no_host_for_an_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LSMON_SSH", raising=False)
    command = ssh("me@box-3", ("~/my env/lsmon",)).command("relay", "a b;$(reboot)")
    assert command[0] == "ssh" and command[-3:-1] == ["--", "me@box-3"]
    assert "BatchMode=yes" in command
    assert command[-1] == "~/'my env/lsmon' relay 'a b;$(reboot)'"
    monkeypatch.setenv("LSMON_SSH", "ssh -F '/tmp/my config'")
    assert ssh("box").command("ls")[:3] == ["ssh", "-F", "/tmp/my config"]
    for host in ("-oProxyCommand=reboot", "", "a b", "a;b", "box\n", "$(x)"):
        with pytest.raises(UsageError):
            ssh(host)
    with pytest.raises(UsageError):
        Remote(ssh("box"), "--after")


def test_a_far_run_is_seen_from_its_header_to_its_end(far: Far) -> None:
    far.publish(500)
    with closing(far.remote()) as remote:
        assert remote.link.phase == "connecting"
        frames = read_until(far, remote, 501)
        assert phase(remote) == "live" and remote.link.lost == 0
        far.publish(100)
        frames += read_until(far, remote, 601)
        far.server.publish(end := RunEnded(seq=602), encode(end))
        frames += read_until(far, remote, 602)
        assert isinstance(frames[0], RunStarted)
        assert [frame.seq for frame in frames] == list(range(1, 603))
        deadline = time.monotonic() + 10
        while not remote._over:
            assert remote.read() == [] and time.monotonic() < deadline
            time.sleep(0.002)
        assert phase(remote) == "ended"
    assert len(far.log.read_text().splitlines()) == 1


def test_a_broken_connection_is_made_again_and_no_frame_is_lost(far: Far) -> None:
    """It asks for the same run, after the last frame that it had, whatever else started there meanwhile."""
    far.publish(100)
    asked: list[str] = []
    with closing(far.remote()) as remote:
        frames = read_until(far, remote, 101)
        for _ in range(2):
            assert remote._carried is not None
            os.kill(remote._carried.pid, signal.SIGKILL)
            far.publish(50)
            deadline = time.monotonic() + 10
            while "reconnecting to box-3, attempt 1" not in remote.link.words:
                frames += remote.read()
                assert time.monotonic() < deadline
            asked.append(f"0a1b --after {remote._order.last}")
            write_card(structs.replace(far.card, run="another", started=9e9))
            frames += read_until(far, remote, far.seq)
            assert remote.link.phase == "live"
    assert [frame.seq for frame in frames] == list(range(1, 202)) and remote.link.lost == 0
    assert [line.split(" relay ")[1].strip("']") for line in far.log.read_text().splitlines()[1:]] == asked


def test_attempts_grow_apart_up_to_ten_seconds(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    with closing(far.remote(clock=lambda: now)) as remote:
        read_until(far, remote, 1)
        monkeypatch.setenv("FAKE_SSH_TROUBLE", "echo ssh: connect to host box-3: No route >&2; exit 255")
        assert remote._carried is not None
        os.kill(remote._carried.pid, signal.SIGKILL)
        waits: list[float] = []
        deadline = time.monotonic() + 20
        while len(waits) < 7:
            assert time.monotonic() < deadline
            failures = remote._failures
            remote.read()
            if remote._failures > failures:
                waits.append(remote._retry_at - now)
                now = remote._retry_at
            time.sleep(0.001)
        assert waits == [0.5, 1, 2, 4, 8, 10, 10]
        assert remote.link.phase == "stale" and remote.link.words == (
            "reconnecting to box-3, attempt 7 (ssh: connect to host box-3: No route)"
        )
        monkeypatch.delenv("FAKE_SSH_TROUBLE")
        far.publish(1)
        assert [frame.seq for frame in read_until(far, remote, 2)] == [2]


def test_a_connection_that_says_nothing_is_taken_for_broken(far: Far) -> None:
    now = 100.0
    with closing(far.remote(clock=lambda: now)) as remote:
        read_until(far, remote, 1)
        assert remote._carried is not None
        os.kill(remote._carried.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while remote._carried is not None:
            assert time.monotonic() < deadline
            now += 4
            remote.read()
            assert remote.link.phase in ("stale", "live")


@pytest.mark.parametrize(
    ("shell", "sentence"),
    [
        ("exit 127", "lsmon is not installed there.*--remote-command.*box-3"),
        ("echo 'ssh: connect to host box-3 port 22: Connection refused' >&2; exit 255",
         r"Cannot connect \(ssh: connect to host box-3 port 22: Connection refused\).*ssh -o BatchMode=yes box-3"),
        ("echo 'me@box-3: Permission denied (publickey).' >&2; exit 255", "Permission denied.*cannot ask for a password"),
        ("echo lsmon: No training with a probe is running here. >&2; exit 1", "box-3 says: No training with a probe"),
        ("exit 0", r"is not lsmon \(exit code 0\)"),
        ("printf '\\033]52;c;AAAA\\007\\n' >&2; exit 3", r"box-3 says: ␦\]52;c;AAAA␦"),
        ("yes", "prints more at start-up"),
    ],
)  # fmt: skip
def test_what_fails_at_the_start_is_one_sentence_with_a_remedy(
    far: Far, monkeypatch: pytest.MonkeyPatch, shell: str, sentence: str
) -> None:
    monkeypatch.setenv("FAKE_SSH_TROUBLE", shell)
    error = trouble(far, far.remote())
    assert isinstance(error, Unreachable)
    assert re.search(sentence, str(error)), str(error)
    assert "\n" not in str(error) and "\x1b" not in str(error)


def test_a_missing_ssh_and_a_silent_host_are_told(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setenv("FAKE_SSH_TROUBLE", "exec sleep 60")
    assert "no answer for" in str(trouble(far, far.remote(clock=clock)))
    monkeypatch.setenv("LSMON_SSH", "/nonexistent/ssh")
    with closing(far.remote()) as remote, pytest.raises(Unreachable, match="install an OpenSSH client"):
        remote.read()


def test_a_later_lsmon_there_is_refused(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SSH_TROUBLE", "printf 'lsmon-relay 9\\n'; sleep 60")
    error = trouble(far, far.remote())
    assert isinstance(error, NewerFormat) and "update lsmon here. The place is box-3." in str(error)


@pytest.mark.parametrize(
    "says",
    ["printf 'lsmon-relay 1\\n'; sleep 60", "echo 'lsmon: Unrecognized arguments: --x; see' >&2; exit 2"],
)
def test_an_earlier_lsmon_there_is_to_be_updated(
    far: Far, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    monkeypatch.setenv("FAKE_SSH_TROUBLE", says)
    assert re.search("older one than this.*update it there.*box-3", str(trouble(far, far.remote())))


def test_a_run_that_is_gone_when_it_reconnects_is_over(far: Far) -> None:
    with closing(far.remote()) as remote:
        read_until(far, remote, 1)
        assert remote._carried is not None
        os.kill(remote._carried.pid, signal.SIGKILL)
        remove_card("0a1b")
        assert "ended while the connection was broken; box-3 says: No live run" in str(trouble(far, remote))


def test_closing_ends_the_far_relay(far: Far) -> None:
    """By the end of its stdin; nothing is left running."""
    remote = far.remote()
    read_until(far, remote, 1)
    assert remote._carried is not None
    pid = remote._carried.pid
    remote.close()
    remote.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_is_garbled_on_the_way_is_a_broken_connection(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte that a terminal or a pipe changed in the middle of a record: what came before it stays, the link says why,
    and the rest comes by another connection."""
    far.publish(1)
    packer, first = Packer(), Scalars(seq=1, step=1, values={"loss": 1.0})
    good, other = (packer.pack(State("0a1b", "live"), [line]) for line in (encode(first), encode(first)))
    for garbled in (struct.pack(">I", LONGEST + 1), other[:4] + b"\xff" * len(other[4:])):
        (far.log.parent / "said").write_bytes(MAGIC + VERSION + good + garbled)
        monkeypatch.setenv("FAKE_SSH_TROUBLE", f"cat {far.log.parent / 'said'}; sleep 60")
        with closing(far.remote()) as remote:
            frames: list[AnyFrame] = []
            while "garbled" not in remote.link.words:
                frames += remote.read()
            assert frames == [first]
            assert remote.link.words == "reconnecting to box-3, attempt 1 (what came was garbled)"
            monkeypatch.delenv("FAKE_SSH_TROUBLE")
            assert [frame.seq for frame in read_until(far, remote, 2)] == [2]
