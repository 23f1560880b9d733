"""How a run is recorded to have ended, and that what is wrong with the probe is said in its words."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lsmon.probe import Context, Probe
from lsmon.probe.header import run_header
from lsmon.protocol.cards import read_cards, remove_card
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.recording.folder import list_recordings
from lsmon.protocol.recording.reader import Recording


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(tmp_path / "sockets"))
    return tmp_path


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SystemExit(), ""),
        (SystemExit(0), ""),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("no"), "ValueError: no"),
    ],
)
def test_the_end_is_told_as_it_was(home: Path, error: BaseException, said: str) -> None:
    """``sys.exit()`` is how a script that succeeded ends; what has no message is its type alone."""
    with pytest.raises(type(error)), Probe(name="mlp") as probe:
        probe.step(1.0)
        raise error
    (folder,) = list_recordings(home / "recordings")
    with Recording.open(folder) as recording:
        assert recording.ended is not None
        assert (recording.ended.reason, recording.ended.error) == ("error" if said else "finished", said)


def test_a_part_that_cannot_be_loaded_leaves_the_training_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a torch too old for the sensors: said once, and every call is a no-op."""
    load = builtins.__import__

    def fails(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "equipment":
            raise ImportError("cannot import name 'vmap'")
        return load(name, *args, **kwargs)

    monkeypatch.setenv("LSMON_STRICT", "0")
    monkeypatch.setattr(builtins, "__import__", fails)
    with Probe(name="mlp") as probe:
        probe.step(1.0)
        probe.log(loss=1.0)
    assert "probe is off, training goes on: ImportError: cannot import" in capsys.readouterr().err


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_without_a_card_there_is_no_server_until_there_can_be_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that nobody could find does not listen; the recording goes on; a card that is lost is written again."""

    def fails(card: object) -> Path:
        raise LsmonError("Cannot write the session card; set LSMON_DIR.")

    monkeypatch.setattr("lsmon.probe.outlets.LOOK_SECS", 0.0)
    with monkeypatch.context() as broken, Probe(name="mlp") as probe:
        broken.setattr("lsmon.probe.outlets.write_card", fails)
        probe.step(1.0)
        (card,) = read_cards()
        remove_card(card.run)
        until(lambda: "live view" in probe._guard.notes)
        broken.undo()
        until(lambda: read_cards() == [card] and "live view" not in probe._guard.notes)
    assert read_cards() == []
    assert capsys.readouterr().err == (
        "lsmon: live view waits: Cannot write the session card; set LSMON_DIR; training goes on\n"
    )


def test_after_ten_faults_the_probe_switches_itself_off(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calls that fail as a whole are said once, not ten times; then it is silent, and its record says why it ends."""
    monkeypatch.setenv("LSMON_STRICT", "0")
    probe = Probe(name="mlp")
    probe.step(1.0)

    def fails(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(probe, "_put", fails)
    for _ in range(20):
        probe.step(1.0)
    probe.close()
    assert capsys.readouterr().err == "lsmon: step is off, training goes on: RuntimeError: broken\n"
    (folder,) = list_recordings(home / "recordings")
    with Recording.open(folder) as recording:
        assert recording.ended is not None
        assert recording.ended.error == "the probe switched itself off after too many faults"
    assert read_cards() == []


@pytest.mark.parametrize(
    ("script", "session", "name"),
    [
        ("/a/train.py", "", "train"),
        ("/x/ipykernel_launcher.py", "", "notebook"),
        ("/x/ipykernel_launcher.py", "/home/me/grokking.ipynb", "grokking"),
        ("-c", "", "python"),
    ],
)
def test_a_run_without_a_name_is_called_after_what_runs(
    script: str, session: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script, or the notebook, or python."""
    monkeypatch.setattr("sys.argv", [script])
    monkeypatch.setenv("JPY_SESSION_NAME", session)
    assert run_header(None, 0.05, 0, Context()).name == name
