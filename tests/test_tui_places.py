"""Several hosts at once, and places behind other carriers than ssh: one list, and each host's trouble beside it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot

from lsmon.protocol.cards import Card, write_card
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.process import this_process
from lsmon.protocol.wire.carrier import via
from lsmon.tui import runs
from lsmon.tui.app import LsmonApp
from lsmon.tui.cli import main
from lsmon.tui.places import hosts as hosts_of
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.screens.runs import RunsScreen
from lsmon.tui.target import Reach, remote
from tests.bench.story import Told, header
from tests.screenplay import drive, shown, text, until

SSH = """
case "$*" in
  *" -- dark "*) echo "ssh: connect to host dark port 22: No route to host" >&2; exit 255 ;;
  *" -- endless "*) exec yes ;;
  *" -- asleep "*) exec sleep 60 ;;
  *" -- shared "*) sleep 60 & echo '[]' ;;
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


def test_a_connection_that_stays_in_the_background_does_not_hold_up_the_list(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As ssh's ControlPersist leaves one, in some versions with our pipes still open."""
    assert main(["ls", "shared", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_a_host_that_says_without_end_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "endless", "box-1", *HERE]) == 1
    said = capsys.readouterr()
    assert "mlp-0" in said.out and "says more than" in said.err and said.err.count("\n") == 1


def test_a_host_that_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "ANSWER_SECS", 0.2)
    assert main(["ls", "asleep"]) == 1
    assert "No answer within" in capsys.readouterr().err


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


def test_several_hosts_make_one_list() -> None:
    """Each run with its host, each host's trouble in a sentence; leaving a run returns to the list."""
    reach = Reach(remote_command=(sys.executable, "-m", "lsmon.tui"))
    named = hosts_of(["box-1:", "dark:", "box-2:"], reach)
    app = LsmonApp(fps=0.01, runs=lambda ascii_only: RunsScreen(named, here=False, ascii_only=ascii_only))

    async def session() -> None:
        async with app.run_test(size=(120, 30)) as pilot:
            await until(pilot, lambda: "No route to host" in shown(app) and shown(app).count("box-") >= 4)
            assert sum("●" in row and " live " in row for row in text(app)) == 4
            for box in ("box-1", "box-2"):
                for name in ("mlp-0", "mlp-2"):
                    assert any(box in row and name in row for row in text(app)), (
                        box,
                        name,
                    )
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, Dashboard))
            await pilot.press("q")
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        app.close_opened()

    asyncio.run(session())


def test_hosts_without_a_run_are_a_sentence() -> None:
    app = LsmonApp(fps=0.01, runs=lambda _: RunsScreen(hosts_of(["idle:"], Reach()), here=False))

    async def session() -> None:
        async with app.run_test(size=(100, 20)) as pilot:
            await until(pilot, lambda: "No runs on idle." in shown(app))
            await pilot.press("q")
            await until(pilot, lambda: not app.is_running)

    asyncio.run(session())
    with pytest.raises(LsmonError, match="must all be hosts"):
        hosts_of(["idle:", "mlp"], Reach())


NOSUCH = "No run, live or recorded, and no file is called 'nosuch'"


@pytest.mark.parametrize("command", (["--once"], ["watch"], ["tail"], ["compare", "nosuch"]), ids=" ".join)
def test_a_run_that_is_not_there_is_one_sentence_as_it_is_here(
    command: list[str], hosts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no screen on which nothing is."""
    for place in ([], ["--via", "env", *HERE]):
        assert main([*command, "nosuch", *place]) == 1
        out, err = capsys.readouterr()
        assert out == "" and NOSUCH in err.splitlines()[-1]


def test_the_screen_is_left_where_there_is_nothing_to_watch() -> None:
    """To the shell, which is told why; to the list, where the run was opened from there."""
    source = remote(via("env", (sys.executable, "-m", "lsmon.tui")), "nosuch")
    alone = LsmonApp(source, fps=10.0)
    listed = LsmonApp(fps=10.0, runs=lambda _: RunsScreen(hosts_of(["idle:"], Reach()), here=False))

    async def leave() -> None:
        async with alone.run_test() as pilot:
            await until(pilot, lambda: not alone.is_running)
        async with listed.run_test(size=(100, 20)) as pilot:
            await until(pilot, lambda: "No runs on idle." in shown(listed))
            listed.open(source)
            await until(pilot, lambda: isinstance(listed.screen, RunsScreen))
            await until(pilot, lambda: any(NOSUCH in note.message for note in listed._notifications))

    asyncio.run(leave())
    assert NOSUCH in alone.feed.trouble
    source.close()


def test_a_run_elsewhere_is_at_the_place_that_the_person_called() -> None:
    """Not at the name which that machine has for itself."""
    source = Told([header(host="ip-10-0-0-7")])
    source.place = "gpu-box"  # type: ignore[attr-defined]

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "grok-p97 @ gpu-box" in shown(app) and "ip-10-0-0-7" not in shown(app)

    drive(source, check)
