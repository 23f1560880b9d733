"""Places, processes and session cards: how a run is found, and what a hostile file in their folder can do."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from lsmon.protocol import places
from lsmon.protocol.cards import Card, read_cards, remove_card, write_card
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.process import Identity, is_alive, this_process


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a shorter path than pytest's own: sockets have to fit below it."""
    monkeypatch.delenv("LSMON_RUNTIME_DIR", raising=False)
    with tempfile.TemporaryDirectory(prefix="lsmon-") as folder:
        monkeypatch.setenv("LSMON_DIR", f"{folder}/state")
        yield Path(folder)


def card(run: str = "0a1b", started: float = 1.0, name: str = "mlp", me: Identity | None = None) -> Card:
    me = me or this_process()
    return Card(
        run=run, name=name, host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
        live="/tmp/x.live", ask="/tmp/x.ask", started=started,
    )  # fmt: skip


def test_this_process_is_alive_and_others_with_its_number_are_not() -> None:
    """A pid counts only with its start time and the boot of its machine."""
    me = this_process()
    assert is_alive(me.pid, me.boot, me.pid_started)
    assert not is_alive(me.pid, "another boot", me.pid_started)
    assert not is_alive(me.pid, me.boot, me.pid_started + 1)
    assert not is_alive(0, me.boot, 0) and not is_alive(-1, me.boot, 0) and not is_alive(1 << 80, me.boot, 0)


def test_a_process_that_ended_is_not_alive_even_as_a_zombie() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        code = f"from lsmon.protocol.process import started; print(started({child.pid}))"
        started = int(subprocess.check_output([sys.executable, "-c", code]))
        boot = this_process().boot
        assert is_alive(child.pid, boot, started)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_alive(child.pid, boot, started)


def test_cards_come_back_newest_first_and_are_private(home: Path) -> None:
    write_card(card("old", 1.0))
    path = write_card(card("new", 2.0))
    assert [card.run for card in read_cards()] == ["new", "old"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert all(card.alive for card in read_cards())
    remove_card("new")
    remove_card("new")
    assert [card.run for card in read_cards()] == ["old"]
    assert [path.name for path in places.cards_dir().iterdir()] == ["old.json"]


def test_what_a_run_left_that_was_killed_long_ago_is_swept(home: Path) -> None:
    """Its card and its sockets, not those of a run that lives or that ended lately, whatever the card says of paths."""
    dead = Identity(this_process().host, 1 << 21, "", 1)
    for name in ("old.live", "old.ask", "precious"):
        (home / name).touch()
    now = 100 * 86400.0
    write_card(card("alive", 1.0))
    write_card(structs.replace(card("old", 1.0, me=dead), live=str(home / "precious")))
    write_card(structs.replace(card("lately", now - 86400, me=dead), live=str(home / "lately.live")))
    write_card(structs.replace(card("new", now), live=str(home / "new.live"), ask=str(home / "new.ask")))
    assert {card.run for card in read_cards()} == {"lately", "alive", "new"}
    assert sorted(path.name for path in home.iterdir()) == ["precious", "state"]


@pytest.mark.parametrize("run", ["", "..", "../x", "a/b", "A", "x" * 65, "a\0", "a\n"])
def test_an_id_cannot_lead_out_of_the_folder(run: str) -> None:
    with pytest.raises(LsmonError, match="A run's id"):
        write_card(card(run))


def test_hostile_cards_are_passed_over_or_cleaned() -> None:
    """Rubbish, another's id, an endless file, a link to nowhere, a folder, a fifo, escape codes."""
    folder = write_card(card("good")).parent
    fields = json.loads((folder / "good.json").read_text())
    (folder / "rubbish.json").write_bytes(b"\xff{[")
    (folder / "deep.json").write_text("[" * 60000)
    (folder / "huge.json").write_bytes(b" " * (1 << 20) + json.dumps(fields).encode())
    (folder / "other.json").write_text(json.dumps(fields))
    (folder / "pid.json").write_text(json.dumps({**fields, "run": "pid", "pid": "1"}))
    (folder / "nowhere.json").symlink_to("/nonexistent")
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "fifo.json")
    (folder / "escape.json").write_text(
        json.dumps({**fields, "run": "escape", "name": "\x1b]52;c;A\x07[/foo]"})
    )
    found = {card.run: card.name for card in read_cards()}
    assert found == {"good": "mlp", "escape": "␦]52;c;A␦[/foo]"}


def test_the_state_folder_is_where_the_environment_says(home: Path) -> None:
    assert places.recordings_dir() == home / "state" / "recordings"
    assert places.cards_dir() == home / "state" / "runs"


def test_sockets_get_a_private_folder_of_their_own(home: Path) -> None:
    folder = places.runtime_dir()
    assert folder == home / "state" / "sockets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert stat.S_IMODE(places.runtime_dir().stat().st_mode) == 0o700


def test_a_long_path_falls_back_to_the_temporary_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unix socket's path has 107 bytes."""
    monkeypatch.setenv("LSMON_DIR", str(home / ("x" * 80)))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(home))
    assert places.runtime_dir() == home / f"lsmon-{os.getuid()}"
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(home / ("y" * 80)))
    with pytest.raises(LsmonError, match="107 bytes; set LSMON_RUNTIME_DIR"):
        places.runtime_dir()


def test_sockets_do_not_go_to_a_network_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There they cannot be connected to, or only from the machine that made them."""
    mounts = f"/dev/root / ext4 rw 0 0\nserver:/home {home}/state nfs4 rw 0 0\ntmpfs {home}/state/local tmpfs rw 0 0\n"
    monkeypatch.setattr(Path, "read_text", lambda path: mounts)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(home))
    assert places.runtime_dir() == home / f"lsmon-{os.getuid()}"
    monkeypatch.setenv("LSMON_DIR", str(home / "state" / "local"))
    assert places.runtime_dir() == home / "state" / "local" / "sockets"


def test_a_folder_made_by_somebody_else_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "shared"
    folder.symlink_to(home)
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(folder))
    with pytest.raises(LsmonError, match="belongs to somebody else"):
        places.runtime_dir()
    (home / "file").touch()
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(home / "file" / "below"))
    with pytest.raises(LsmonError, match="Cannot make a folder for sockets"):
        places.runtime_dir()
