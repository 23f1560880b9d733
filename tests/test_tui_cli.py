"""The command line: help, errors in a sentence, exit codes."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.frames import AnyFrame, RunStarted, Scalars
from lsmon.protocol.recording.record import record
from lsmon.tui.cli import COMMANDS, main

HOSTILE = "x\x1b]52;c;AAAA\x07\x9b31m[/foo]"


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which lsmon has never run."""
    home = tmp_path / "home"
    monkeypatch.setenv("LSMON_DIR", str(home))
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(tmp_path / "sockets"))
    return home


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What came out on stderr, which must be one line that starts with our name and holds no control character."""
    text = capsys.readouterr().err
    assert text.startswith("lsmon: ") and text.endswith("\n") and text.count("\n") == 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text.rstrip("\n"))
    assert "Traceback" not in text
    return text


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name}" in out for name in ("show", *COMMANDS))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: lsmon {command}" in out and "``" not in out


@pytest.mark.parametrize(
    "words",
    [
        ["ls", "--colour"],
        ["replay"],
        ["replay", "x", "--speed", "0"],
        ["replay", "x", "--speed", "fast"],
        ["demo", "nosuch"],
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "--help" in said(capsys)


@pytest.mark.parametrize("command", ["replay", "info", "tail", "alerts"])
def test_a_missing_path_is_a_sentence(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "/no/such/path"]) == 1
    assert "/no/such/path" in said(capsys)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x89PNG\r\n\x1a\n" + bytes(100), b"\x89MCAP0\r\n"])
@pytest.mark.parametrize("command", ["replay", "info", "tail", "alerts"])
def test_an_empty_or_foreign_file_is_a_sentence(
    command: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.mcap"
    path.write_bytes(content)
    assert main([command, str(path)]) == 1
    said(capsys)


def test_a_hostile_name_is_shown_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["tail", HOSTILE],
        [HOSTILE],
        ["replay", HOSTILE],
        ["ls", "--x" + HOSTILE],
        ["relay", HOSTILE],
    ):
        assert main(words) in (1, 2)
        said(capsys)


def test_without_a_run_it_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert "Probe(" in said(capsys)


@pytest.mark.parametrize(
    ("target", "remedy"),
    [("tcp://1.2.3.4:5", "tcp://KEY@1.2.3.4:5"), ("tcp://x", "tcp://HOST:PORT"), ("ipc:///x", "lsmon ls")],
)
def test_an_address_that_leads_nowhere_is_refused_with_the_remedy(
    target: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([target]) == 2
    assert remedy in said(capsys)


def test_a_host_that_looks_like_an_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "--", "-oProxyCommand=x:"]) in (1, 2)
    said(capsys)


def test_ls_of_nothing_is_empty_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_doctor_finds_this_machine_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "libzmq" in out and "fail" not in out


def test_a_reader_that_leaves_early_is_no_error() -> None:
    shell = f"{sys.executable} -m lsmon.tui --help | head -n 1"
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, env=os.environ, check=False
    )
    assert run.stderr == ""


def test_alerts_of_a_recording_are_those_of_the_live_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same detectors, over the same frames: what the recording holds as alerts comes out again."""
    watch, seq = Watch(), 1
    frames: list[AnyFrame] = []
    for step in range(300):
        seq += 1
        frames.append(Scalars(seq=seq, step=step, values={"loss": 1.0 if step < 200 else math.nan}))
        for alert in watch.see(frames[-1]):
            seq += 1
            frames.append(msgspec.structs.replace(alert, seq=seq))
    record(tmp_path, RunStarted(seq=1, run="a", name="a"), frames)
    assert main(["alerts", str(tmp_path), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = msgspec.json.decode(line)
    assert (told["kind"], told["step"], told["severity"]) == ("nonfinite", 200, "critical")
    assert main(["alerts", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "step 200  nonfinite: loss became nan.\n"


def run(words: str, **others: str) -> subprocess.CompletedProcess[str]:
    """In a shell, with this Python as ``$PYTHON``."""
    return subprocess.run(
        ["sh", "-c", words],
        check=False,
        env={**os.environ, "PYTHON": sys.executable, **others},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_nothing_special(closed: str) -> None:
    """Services are started like that."""
    done = run(f'"$PYTHON" -m lsmon.tui ls {closed}')
    assert done.returncode == 0
    assert "should not have happened" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_stdout_is_a_sentence() -> None:
    """And a failure, whether it is noticed at once or at the end."""
    done = run('"$PYTHON" -m lsmon.tui --help > /dev/full')
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no space left" in done.stderr


def test_a_demo_that_no_viewer_can_find_says_why(tmp_path: Path) -> None:
    """It was waited for until the training was over."""
    file = tmp_path / "file"
    file.touch()
    done = run('"$PYTHON" -m lsmon.tui demo edge --headless', LSMON_DIR=str(file), LSMON_STRICT="0")
    assert done.returncode == 1
    assert "Cannot write the session card" in done.stderr and "LSMON_DIR" in done.stderr


def test_doctor_tries_to_write(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder may belong to us and take nothing all the same."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("LSMON_DIR", str(file))
    assert main(["doctor"]) == 1
    assert "fail  disk      not writable (" in capsys.readouterr().out
