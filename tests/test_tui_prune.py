"""``lsmon prune``: what is old goes, what is new, live or not ours stays, and a dry run touches nothing."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from lsmon.protocol.cards import Card, write_card
from lsmon.protocol.codec import encode
from lsmon.protocol.frames import RunEnded, RunStarted
from lsmon.protocol.process import this_process
from lsmon.protocol.recording.folder import new_folder
from lsmon.protocol.recording.writer import Recorder
from lsmon.tui.cli import main

DAY = 86400.0


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))
    return tmp_path


def recorded(home: Path, run: str, days: float, *, ended: bool = True, pid: int = 0) -> Path:
    """A recording that was begun and last written to so many days ago."""
    me = this_process()
    wall = time.time() - days * DAY
    header = RunStarted(
        seq=1, run=run, name="mlp", wall=wall, pid=pid, boot=me.boot, pid_started=me.pid_started
    )
    folder = new_folder(home / "recordings", header)
    with closing(Recorder(folder, header)) as recorder:
        if ended:
            recorder.write(end := RunEnded(seq=2, wall=wall), encode(end))
    for path in folder.iterdir():
        os.utime(path, (wall, wall))
    return folder


def left(home: Path) -> list[str]:
    """Ids of what is there, sorted."""
    return sorted(path.name.rpartition("-")[2] for path in (home / "recordings").iterdir())


def test_a_recording_goes_only_when_it_fails_both_rules(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not among the newest and not young; a dry run says the same and removes nothing."""
    for run, days in (("a", 1), ("b", 10), ("c", 40), ("d", 50)):
        recorded(home, run, days)
    assert main(["prune", "--keep", "1", "--older", "30d", "--dry-run"]) == 0
    dry = capsys.readouterr()
    assert left(home) == ["a", "b", "c", "d"]
    assert "2 recordings would be removed" in dry.err
    assert main(["prune", "--keep", "1", "--older", "30d"]) == 0
    wet = capsys.readouterr()
    assert left(home) == ["a", "b"]
    assert wet.out == dry.out and "2 recordings removed" in wet.err
    assert main(["prune", "--keep", "1"]) == 0
    assert left(home) == ["a"]
    assert main(["prune", "--older", "12h"]) == 0
    assert left(home) == []


def test_what_may_still_be_written_stays(home: Path) -> None:
    """A run that lives, by its header or by its card; one without an end that was written to today, whose process may
    be out of sight. One that was killed two days ago goes."""
    recorded(home, "lives", 60, ended=False, pid=os.getpid())
    folder = recorded(home, "card", 60, ended=False)
    me = this_process()
    write_card(
        Card(
            run="card", name="mlp", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
            live="", ask="", recording=str(folder),
        )
    )  # fmt: skip
    recorded(home, "elsewhere", 0.5, ended=False, pid=1 << 22)
    recorded(home, "killed", 2, ended=False, pid=1 << 22)
    assert main(["prune", "--keep", "0"]) == 0
    assert left(home) == ["card", "elsewhere", "lives"]


def test_what_is_not_a_recording_is_not_touched(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another folder, a file, a link to a recording elsewhere, and a person's own file inside a recording."""
    folder = recorded(home, "a", 40)
    elsewhere = recorded(home / "precious", "b", 40)
    root = home / "recordings"
    (root / "notes").mkdir()
    (root / "notes" / "x.mcap").write_text("mine")
    (root / "file.mcap").write_text("mine")
    (root / "link").symlink_to(elsewhere, target_is_directory=True)
    (folder / "thesis.txt").write_text("mine")
    (folder / "001.mcap").symlink_to(root / "file.mcap")
    assert main(["prune", "--keep", "0"]) == 0
    assert "other files are in its folder" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["001.mcap", "thesis.txt"]
    assert (elsewhere / "000.mcap").exists()
    assert (root / "notes" / "x.mcap").read_text() == (root / "file.mcap").read_text() == "mine"
    assert (root / "link").is_symlink()


@pytest.mark.parametrize(
    "words", [[], ["--dry-run"], ["--keep", "-1"], ["--keep", "x"], ["--older", "30"], ["--older", "d"]]
)
def test_what_makes_no_sense_removes_nothing(home: Path, words: list[str]) -> None:
    """Exit code 2, and without a rule nothing goes."""
    recorded(home, "a", 400)
    assert main(["prune", *words]) == 2
    assert left(home) == ["a"]


def test_a_machine_without_recordings_has_nothing_to_remove(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", "--keep", "20"]) == 0
    assert "0 recordings removed" in capsys.readouterr().err
