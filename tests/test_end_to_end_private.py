"""A real probe on a shared machine: no port is open, and another user of it sees, reads and reaches nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lsmon.probe import Probe
from lsmon.protocol.cards import Card, read_cards
from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import AnyFrame, Heartbeat, Scalars
from lsmon.protocol.sources.live import Live
from lsmon.protocol.sources.source import Source
from lsmon.protocol.sources.tcp import Tcp
from lsmon.protocol.wire import keys
from lsmon.protocol.wire.address import address
from lsmon.tui.cli import main
from tests.test_protocol_tcp import two_ports
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sockets are read from /proc")

NOBODY = 65534


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that everybody can enter, as a shared home: what is private in it must be so by itself."""
    with tempfile.TemporaryDirectory(prefix="lsmon-") as name:
        Path(name).chmod(0o755)
        monkeypatch.setenv("LSMON_DIR", f"{name}/lsmon")
        yield Path(name)


def listening_ports() -> set[int]:
    """TCP ports at which this process listens, by the inodes of its own descriptors."""
    mine = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in mine:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def seen(source: Source, probe: Probe) -> list[AnyFrame]:
    """What comes until there is a number and a heartbeat."""
    frames: list[AnyFrame] = []

    def done() -> bool:
        frames.extend(source.read())
        return {Scalars, Heartbeat} <= {type(frame) for frame in frames}

    probe.step(1.0)
    until(done, 10.0)
    return frames


def test_no_tcp_port_is_open_by_default_and_two_when_asked_for(home: Path) -> None:
    """And through those a viewer with a key that is allowed sees the run."""
    before = listening_ports()
    with Probe(name="private") as probe:
        (card,) = read_cards()
        with closing(Live(card)) as live:
            seen(live, probe)
        assert listening_ports() == before
    pair = keys.make()
    keys.allow(pair.public)
    at = address(f"tcp://127.0.0.1:{two_ports()}")
    with Probe(name="open", listen=at.live) as probe:
        until(lambda: listening_ports() == before | {at.port, at.port + 1})
        with closing(Tcp(at._replace(key=pair.public))) as viewer:
            seen(viewer, probe)
    assert listening_ports() == before


def test_a_port_that_is_taken_is_said_and_training_goes_on(home: Path) -> None:
    keys.allow(keys.make().public)
    at = address(f"tcp://127.0.0.1:{two_ports()}")
    with Probe(name="first", listen=at.live):
        with Probe(name="second", listen=at.live) as second:
            (card,) = (card for card in read_cards() if card.name == "second")
            with closing(Live(card)) as live:
                beat = next(frame for frame in seen(live, second) if isinstance(frame, Heartbeat))
        assert "waits: Cannot listen at TCP port" in beat.notes["live view"]


def test_a_probe_without_keys_does_not_start_to_listen(home: Path) -> None:
    before = listening_ports()
    with pytest.raises(UsageError, match="lsmon keys make"):
        Probe(listen="tcp://127.0.0.1:7000")
    assert listening_ports() == before


def test_keys_are_made_shown_allowed_and_forgotten(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys"]) == 0 and "lsmon keys make" in capsys.readouterr().err
    assert main(["keys", "make"]) == 0
    own = capsys.readouterr().out.split()[-1]
    assert main(["keys", "make"]) == 2
    assert main(["keys", "allow", own, "laptop"]) == 0
    capsys.readouterr()
    assert main(["keys", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"own": own, "allowed": {own: "laptop"}}
    assert main(["keys", "forget", "laptop"]) == 0
    assert main(["keys", "forget", "laptop"]) == 1
    for wrong in (["keys", "allow"], ["keys", "allow", "xyz"], ["keys", "show", own], ["keys", "steal"]):
        assert main(wrong) == 2
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith("lsmon: ") for line in said) and len(said) == 5
    keys.own_file().chmod(0o644)
    assert main(["keys"]) == 1 and "chmod 600" in capsys.readouterr().err


PRELUDE = """
import json, os, socket, sys, zmq  # before anything else: this Python may lie where another user cannot go
from pathlib import Path
"""

BECOME = f"""{PRELUDE}
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
assert os.getuid() == os.geteuid() == {NOBODY}
"""

STRANGER = """
card = json.loads(sys.argv[1])
got = []
for path in (card["live"], card["ask"]):
    with socket.socket(socket.AF_UNIX) as peer:
        try:
            peer.connect(path)
            got.append(f"connected to {path}")
        except OSError:
            pass
home = Path(sys.argv[2])
for folder in (home / "lsmon", home / "lsmon/runs", home / "lsmon/recordings", home / "lsmon/sockets", Path(card["live"]).parent):
    try:
        got.append(f"listed {folder}: {os.listdir(folder)}") if os.listdir(folder) else None
    except OSError:
        pass
recording = Path(card["recording"])
for path in (home / "lsmon/runs" / (card["run"] + ".json"), recording / "meta.json", recording / "000.mcap", home / "lsmon/keys/own"):
    try:
        path.read_bytes()
        got.append(f"read {path}")
    except OSError:
        pass
print(json.dumps(got))
"""

INSIDE = """
context = zmq.Context()
context.linger = 0
sub, ask = context.socket(zmq.SUB), context.socket(zmq.DEALER)
sub.subscribe(b"")
sub.connect(f"ipc://{sys.argv[1]}")
ask.connect(f"ipc://{sys.argv[2]}")
ask.send(b'{"after":0}')
print("came" if sub.poll(1500) or ask.poll(0) else "nothing", flush=True)
context.destroy()
"""


def as_nobody(code: str, *args: str) -> str:
    """What this code prints, run by another user."""
    command = [sys.executable, "-c", BECOME + code, *args]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def shared(home: Path) -> Iterator[tuple[Card, Probe]]:
    """A training of ours on a machine that another user is on too."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    keys.make()
    with Probe(name="private") as probe:
        (card,) = read_cards()
        probe.step(1.0)
        with closing(Live(card)) as live:
            seen(live, probe)
        yield card, probe


def card_json(card: Card) -> str:
    return json.dumps({name: getattr(card, name) for name in ("run", "live", "ask", "recording")})


def test_another_user_cannot_connect_read_or_list(home: Path, shared: tuple[Card, Probe]) -> None:
    card, _ = shared
    assert json.loads(as_nobody(STRANGER, card_json(card), str(home))) == []
    ours = subprocess.run(
        [sys.executable, "-c", PRELUDE + STRANGER, card_json(card), str(home)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(ours.stdout)) >= 9  # the same attempts by its own user all succeed


def test_another_user_who_reaches_the_sockets_still_gets_nothing(
    home: Path, shared: tuple[Card, Probe]
) -> None:
    """Should folder and file be opened by mistake, the peer's user is asked of the kernel: the second lock."""
    card, probe = shared
    for folder in (home / "lsmon", Path(card.live).parent):
        folder.chmod(0o755)
    for path in (card.live, card.ask):
        Path(path).chmod(0o666)
    assert as_nobody(INSIDE, card.live, card.ask) == "nothing"
    with closing(Live(card)) as live:  # while its own user is let in as before
        seen(live, probe)
