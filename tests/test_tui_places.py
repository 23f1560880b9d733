"""Several hosts at once, and places behind other carriers than ssh: one list, and each host's trouble beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lsmon.protocol.cards import Card, write_card
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.process import this_process
from lsmon.tui.cli import main
from lsmon.tui.places import watch_several
from lsmon.tui.screens import chooser
from lsmon.tui.screens.chooser import Choice
from lsmon.tui.target import Reach

SSH = """
case "$*" in
  *" -- dark "*) echo "ssh: connect to host dark port 22: No route to host" >&2; exit 255 ;;
  *" -- idle "*) echo '[]' ;;
  *) for last; do :; done; echo "Welcome!"; sh -c "$last"; echo "Bye." ;;
esac
"""


@pytest.fixture(autouse=True)
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``box-1`` and ``box-2`` are this machine behind a noisy shell, ``idle`` has no runs, ``dark`` is not there."""
    home = tmp_path / "home"
    monkeypatch.setenv("LSMON_DIR", str(home))
    (tmp_path / "ssh").write_text(SSH)
    monkeypatch.setenv("LSMON_SSH", f"sh {tmp_path / 'ssh'}")
    me = this_process()
    for run in ("0a1b", "2c3d"):
        write_card(
            Card(run=run, name=f"mlp-{run[0]}", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
                 live="/nowhere", ask="/nowhere")
        )  # fmt: skip
    return home


HERE = ["--remote-command", f"{sys.executable} -m lsmon.tui"]


def listed(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    return sorted((run["place"], run["run"]) for run in json.loads(capsys.readouterr().out))


def test_ls_of_several_hosts_is_one_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Each run with the name by which the person calls its host."""
    assert main(["ls", "box-1", "box-2:", "idle", "--json", *HERE]) == 0
    assert listed(capsys) == [(box, run) for box in ("box-1", "box-2") for run in ("0a1b", "2c3d")]


def test_a_host_that_is_not_there_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "dark", "box-1:0a", *HERE]) == 1
    said = capsys.readouterr()
    assert "mlp-0" in said.out and "mlp-2" not in said.out
    assert "No route to host" in said.err and said.err.count("\n") == 1


def test_ls_goes_over_any_carrier(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--json", "--via", "env LSMON_LOG=", *HERE]) == 0
    assert listed(capsys) == [("env LSMON_LOG=", "0a1b"), ("env LSMON_LOG=", "2c3d")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ls", "box-1:", "--via", "env"], "--via says where already"),
        (["tail", "box-1:", "--via", "env"], "--via says where already"),
        (["tail", "--via", "env 'x"], "--via cannot be read"),
        (["ls", "box-1", "--remote-command", "'x"], "--remote-command cannot be read"),
    ],
)
def test_a_carrier_that_makes_no_sense_is_a_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert sentence in capsys.readouterr().err


class Person:
    """Chooses by a plan, and remembers what there was to choose from."""

    def __init__(self, *plan: int | None) -> None:
        self.plan = list(plan)
        self.seen: list[tuple[list[tuple[str, str]], list[str]]] = []

    def choose(self, live: Sequence[Choice], _: Sequence[Choice], notes: Sequence[str] = ()) -> Choice | None:
        self.seen.append(([(choice.host, choice.name) for choice in live], list(notes)))
        wanted = self.plan.pop(0)
        return None if wanted is None else live[wanted]


def test_leaving_a_run_returns_to_the_list_of_all_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what went wrong: a host out of reach, and the run that was watched."""
    person, watched = Person(0, 3, None), []

    def watch(source: object) -> int:
        watched.append(source)
        if len(watched) == 2:
            raise LsmonError("The run is gone.")
        return 0

    monkeypatch.setattr(chooser, "choose", person.choose)
    reach = Reach(remote_command=(sys.executable, "-m", "lsmon.tui"))
    assert watch_several(["box-1:", "dark:", "box-2:"], reach, watch) == 0
    assert len(watched) == 2 and not person.plan
    for runs, notes in person.seen:
        assert sorted(runs) == [(box, name) for box in ("box-1", "box-2") for name in ("mlp-0", "mlp-2")]
        assert "No route to host" in notes[0]
    assert person.seen[-1][1][1] == "The run is gone."


def test_hosts_without_a_run_are_a_sentence() -> None:
    def watch(_: object) -> int:
        raise AssertionError("there is nothing to watch")

    with pytest.raises(LsmonError, match="No training with a probe is running on idle, idle"):
        watch_several(["idle:", "idle:"], Reach(), watch)
    with pytest.raises(LsmonError, match="No route to host"):
        watch_several(["idle:", "dark:"], Reach(), watch)
    with pytest.raises(LsmonError, match="must all be hosts"):
        watch_several(["idle:", "mlp"], Reach(), watch)
