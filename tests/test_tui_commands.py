"""The commands on recorded runs: found by name, exit codes, how a run ended, silence told once."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs
from rich.cells import cell_len

from lsmon.protocol.cards import Card, write_card
from lsmon.protocol.codec import encode
from lsmon.protocol.frames import Alert, AnyFrame, RunEnded, RunStarted, Scalars
from lsmon.protocol.process import this_process
from lsmon.protocol.recording.folder import new_folder
from lsmon.protocol.recording.writer import Recorder
from lsmon.protocol.sources.source import Link
from lsmon.tui.cli import main
from lsmon.tui.commands.ls import table
from lsmon.tui.commands.tail import follow
from lsmon.tui.runs import Run, local_runs
from lsmon.tui.target import of_this_machine
from tests.recorded import record


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which lsmon has never run."""
    home = tmp_path / "home"
    monkeypatch.setenv("LSMON_DIR", str(home))
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(tmp_path / "sockets"))
    return home


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lsmon: ")
    return line


def recorded(
    home: Path,
    name: str,
    run: str,
    ended: RunEnded | None,
    seqs: Sequence[int] = (2, 3),
    wall: float = 1000.0,
) -> Path:
    header = RunStarted(seq=1, run=run, name=name, wall=wall, pid=4711)
    folder = new_folder(home / "recordings", header)
    with closing(Recorder(folder, header)) as recorder:
        for seq in seqs:
            recorder.write(
                frame := Scalars(seq=seq, step=seq, wall=1000.0 + seq, values={"loss": 0.5}), encode(frame)
            )
        if ended is not None:
            ended = structs.replace(ended, seq=seqs[-1] + 1)
            recorder.write(ended, encode(ended))
    return folder


@pytest.mark.parametrize("by", ["path", "name", "id", "pid"])
@pytest.mark.parametrize("command", ["tail", "info", "replay"])
def test_a_recording_is_found_by_path_name_id_or_pid(
    command: str, by: str, empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And printed whole at once, where there is no screen."""
    folder = recorded(empty_home, "mlp", "0a1b2c3d", RunEnded())
    assert main([command, {"path": str(folder), "name": "mlp", "id": "0a1b", "pid": "4711"}[by]]) == 0
    out = capsys.readouterr().out
    assert "mlp" in out and "finished" in out


def test_a_number_is_no_host(capsys: pytest.CaptureFixture[str]) -> None:
    """To ssh it is the address 0.0.18.104, and it was waited for."""
    assert main(["4712", "--once"]) == 1
    assert "is called '4712'" in said(capsys)


COMMANDS = (["info", "RUN"], ["tail", "RUN"], ["alerts", "RUN"], ["RUN", "--once"], ["RUN"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_whole_name_wins_over_the_beginning_of_another(
    command: Sequence[str], empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``run1`` is an older run than ``run10``; the beginning of both names none of them."""
    recorded(empty_home, "run1", "0a1b", RunEnded(), wall=1000.0)
    recorded(empty_home, "run10", "2c3d", RunEnded(), wall=2000.0, seqs=(2, 3, 7))
    assert (
        main([word.replace("RUN", "run1") for word in command]) == 0
    )  # 3 for the other, of which frames are missing
    out = capsys.readouterr().out
    assert "run10" not in out
    assert main([word.replace("RUN", "run") for word in command]) == 2
    assert "Several runs begin with 'run', name one of them: run10 (2c3d), run1 (0a1b)." in said(capsys)


@pytest.mark.parametrize("age", [0.0, 3600.0])
def test_a_run_that_has_only_just_begun_is_waited_for(
    age: float, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It records some moments before it can be watched; an old recording without an end is over."""
    folder = recorded(empty_home, "mlp", "0a1b", None, wall=time.time() - age)
    me = this_process()
    card = Card(run="0a1b", name="mlp", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
                live="/nowhere", ask="/nowhere")  # fmt: skip
    monkeypatch.setattr(time, "sleep", lambda _: write_card(card))
    assert of_this_machine("mlp") == (folder if age else card)


def test_the_beginning_of_one_name_is_enough(empty_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the newest is meant where several runs have that name."""
    for wall, run in ((1000.0, "0a1b"), (2000.0, "2c3d")):
        recorded(empty_home, "mlp", run, RunEnded(), wall=wall)
    recorded(empty_home, "cnn", "4e5f", RunEnded(), wall=3000.0)
    for name, run in (("ml", "2c3d"), ("mlp", "2c3d"), ("0a", "0a1b"), ("c", "4e5f")):
        assert main(["info", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["run"] == run, name


def test_what_lives_does_not_hide_a_run_whose_name_it_begins_with(
    empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``run10`` lives, ``run1`` is over; its beginning alone means the one that lives."""
    me = this_process()
    write_card(
        Card(run="2c3d", name="run10", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
             live="/nowhere", ask="/nowhere")
    )  # fmt: skip
    recorded(empty_home, "run1", "0a1b", RunEnded())
    assert main(["tail", "run1"]) == 0
    assert capsys.readouterr().out.startswith("run1 ")
    for name, words in (("run10", "2c3d"), ("run", "2c3d"), ("run1", "0a1b"), ("0a", "0a1b")):
        found = of_this_machine(name)
        assert words in (found.run if isinstance(found, Card) else found.name)


def test_a_run_is_not_compared_with_itself(empty_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = recorded(empty_home, "run1", "0a1b", RunEnded(), wall=1000.0)
    recorded(empty_home, "run10", "2c3d", RunEnded(), wall=2000.0)
    assert main(["compare", "run1", "run1"]) == 2
    assert "'run1' twice is one and the same run" in said(capsys)
    assert main(["compare", "run1", str(folder)]) == 2
    assert "are one and the same run" in said(capsys)
    assert main(["compare", "run1", "run10"]) == 0
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[1:3]] == ["run1", "run10"]


def test_frames_that_are_missing_make_exit_code_3(
    empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(empty_home, "mlp", "0a1b", RunEnded(), seqs=(2, 3, 7))
    assert main(["tail", "mlp"]) == 3
    assert "3 frames lost" in said(capsys)


@pytest.mark.parametrize(
    ("ended", "state", "full"),
    [
        (None, "ended early", "ended early"),
        (RunEnded(), "finished", "finished"),
        (
            RunEnded(reason="error", error="ValueError: no\nsecond line"),
            "failed",
            "failed: ValueError: no second line",
        ),
        (RunEnded(reason="error", error="KeyboardInterrupt"), "stopped", "stopped"),
    ],
)
def test_ls_info_and_tail_tell_in_one_word_how_a_run_ended(
    ended: RunEnded | None, state: str, full: str, empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recorded(empty_home, "mlp", "0a1b", ended)
    assert main(["ls", "--json"]) == 0
    assert [run["state"] for run in json.loads(capsys.readouterr().out)] == [state]
    assert main(["info", str(folder)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 9
    assert f"state     {full}" in rows
    lost = next(row for row in rows if row.startswith("lost"))
    assert lost.startswith("lost      nothing") and (ended is None) == ("it is not in here" in lost)
    assert main(["tail", str(folder)]) == 0
    assert (capsys.readouterr().out.splitlines()[-1] == f"ended, {full}") == (ended is not None)


def test_info_tells_what_is_in_a_file_that_lsmon_did_not_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps, quantities by our names, lines that cannot be read; nothing that such a file does not say."""
    file = tmp_path / "run.csv"
    file.write_text("step,train_loss,lr\n5,2.0,0.1\nx,y\n6,nan,0.1\n")
    assert main(["info", str(file)]) == 0
    page = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert page["file"] == f"{file}, {file.stat().st_size} B"
    assert (page["steps"], page["holds"], page["alerts"]) == ("5 to 6", "loss, lr", "nonfinite 1")
    assert "does not say" in page["state"] and "1 line " in page["damage"]
    assert main(["info", str(file), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["file"], facts["names"], facts["last_step"]) == (str(file), ["loss", "lr"], 6)
    assert "host" not in facts and "started" not in facts


@pytest.mark.parametrize(
    ("far", "remedy"),
    [("exit 127", "not installed there"), ("exit 255", "BatchMode"), ("echo no >&2; exit 1", "says: no"), ("exit 0", "not lsmon")],
)  # fmt: skip
def test_ls_of_a_host_that_has_no_list_is_a_sentence_with_a_remedy(
    far: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ssh").write_text(far)
    monkeypatch.setenv("LSMON_SSH", f"sh {tmp_path / 'ssh'}")
    assert main(["ls", "box-3"]) == 1
    assert remedy in said(capsys)


def test_a_silence_is_told_once_however_long_it_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing of the phase twice; what the link says when all is over comes too."""

    class Silent:
        """A source that has nothing, and counts the seconds."""

        looks = 0

        @property
        def link(self) -> Link:
            if self.looks > 5:
                return Link("dead", "The training process 7 is gone.")
            return Link("stale", f"Nothing heard for {self.looks} s.")

        def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
            self.looks += 1
            return []

        def close(self) -> None:
            pass

    assert follow(Silent()) == 0
    assert capsys.readouterr().err.splitlines() == [
        "lsmon: Nothing heard for 1 s.",
        "lsmon: The training process 7 is gone.",
    ]


@pytest.mark.parametrize("as_json", [True, False])
def test_what_tail_prints_into_a_pipe_is_there_before_it_waits(
    monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    """A pipe gives nothing on before 8 kB, unless it is told to: of a quiet run that took a minute."""
    through = io.BytesIO()
    pipe = io.TextIOWrapper(io.BufferedWriter(through, 1 << 13), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", pipe)
    seen: list[int] = []

    class Quiet:
        """One frame, then nothing."""

        run = "quiet"
        link = Link("live", "")

        def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
            seen.append(through.getvalue().count(b"\n"))
            if len(seen) > 1:
                self.link = Link("ended", "")
            return [RunStarted(seq=1, run="quiet", name="quiet")] if len(seen) == 1 else []

        def close(self) -> None:
            pass

    follow(Quiet(), as_json)
    assert seen[:2] == [0, 1]


def test_no_alerts_are_said_and_those_of_the_probe_are_kept(
    empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, since there is no data; detectors find no fault of the probe, so what was recorded of it is told."""
    recorded(empty_home, "quiet", "0a1b", None)
    assert main(["alerts", "quiet"]) == 0
    assert capsys.readouterr() == ("", "lsmon: no alerts in 2 steps\n")
    fault = Alert(
        seq=2, step=7, onset_step=7, kind="probe_fault", message="The probe's curvature failed and is off."
    )
    other = Alert(seq=3, step=7, onset_step=7, kind="loss_spike", message="Recorded, and not found again.")
    record(
        empty_home / "recordings", [RunStarted(seq=1, run="2c3d", name="broken", wall=2000.0), fault, other]
    )
    assert main(["alerts", "broken"]) == 0
    out, err = capsys.readouterr()
    assert out == "step 7  probe fault: The probe's curvature failed and is off.\n" and err == ""


def test_one_frame_of_a_replay_is_asked_for_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "run.csv", "--once"]) == 2
    assert "`lsmon run.csv --once`" in said(capsys)


@pytest.mark.parametrize(
    "words", [["exprot", "foo"], ["exprot", "foo", "--to", "csv"], ["exprot"], ["alert", "x"]]
)
def test_a_command_that_is_mistyped_is_guessed(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(words)) != 0
    wanted = {"exprot": "export", "alert": "alerts"}[words[0]]
    assert f"Did you mean `lsmon {wanted}`?" in said(capsys)
    assert main(["my-training"]) == 1
    assert "Did you mean" not in said(capsys)


def test_a_list_fits_the_terminal_and_tells_who_is_silent(
    empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the paths where they have no room; a process that is there and records nothing is stale."""
    folder = recorded(empty_home, "mlp", "0a1b", None)
    me = this_process()
    write_card(
        Card(run="0a1b", name="mlp", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
             live="/nowhere", ask="/nowhere", recording=str(folder))
    )  # fmt: skip
    assert [run.state for run in local_runs()] == ["live"]
    for path in folder.glob("*.mcap"):
        os.utime(path, (time.time() - 60, time.time() - 60))
    (run,) = local_runs()
    assert run.state == "stale"
    wide, narrow = table([run], time.time(), 400), table([run], time.time(), 80)
    assert str(folder) in wide and "RECORDING" in wide
    assert str(folder) not in narrow and all(len(line) <= 80 for line in narrow.splitlines())


def test_columns_are_as_wide_as_their_letters() -> None:
    """Wide ones take two cells; cut in the middle of one, a cell stays empty."""
    runs = [
        Run(state="live", name=name, run="0123", host="h", pid=7, started=0.0) for name in ("学習ラン🚀" * 2, "plain")
    ]  # fmt: skip
    for cols in (None, *range(45, 70)):
        columns = {cell_len(line.partition("0123")[0]) for line in table(runs, 60.0, cols).splitlines()[1:]}
        assert len(columns) == 1, cols


def test_the_list_of_runs_fits_the_terminal() -> None:
    """Names and hosts are cut, no number is; a place that opens a run is whole; all of it where nobody has a width."""
    runs = [
        Run(state="ended early", name="a-name-" * 9, run="0123456789ab", host="a-host." * 6, pid=4_194_304, started=0.0, recording="/r" * 40),
        Run(state="live", name="short", run="fedcba98", host="h", pid=1, started=0.0, place="gpu-box.example.org"),
    ]  # fmt: skip
    now = 3600.0
    assert "/r" * 40 in table(runs, now)
    for each in (runs, runs[:1]):
        for cols in (120, 100, 80):
            lines = table(each, now, cols).splitlines()
            assert all(len(line) <= cols for line in lines)
            assert "01234567" in lines[1] and "4194304" in lines[1] and "60 min ago" in lines[1]
            assert "a-name-" in lines[1] and "…" in lines[1]
    assert "gpu-box.example.org" in table(runs, now, 80)
