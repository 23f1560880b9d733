"""Recordings in the formats of others, and the screen without a terminal: nothing is lost, nothing is overwritten."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.cells import cell_len

from lsmon.protocol.errors import BadRecording
from lsmon.protocol.frames import AnyFrame, Curvature, Ritz, Scalars
from lsmon.protocol.names import scalars
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.sources.opening import open_path
from lsmon.protocol.sources.synthetic import numbered
from lsmon.tui.cli import main
from lsmon.tui.progress import Progress
from tests.bench.story import frames, header
from tests.recorded import record


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return record(tmp_path / "recorded", frames(4000))


def measured(recording: Recording) -> list[tuple[int, dict[str, float], dict[str, float]]]:
    """Values and errors by step, merged: a table has one row for what came at once."""
    rows: dict[int, tuple[dict[str, float], dict[str, float]]] = {}
    for frame in recording.frames():
        if isinstance(frame, Scalars | Curvature):
            values, errors = scalars(frame)
            row = rows.setdefault(frame.step, ({}, {}))
            row[0].update(values)
            row[1].update(errors)
    return [(step, *row) for step, row in rows.items()]


def exported(recorded: Path, to: str, out: Path, *more: str) -> bytes:
    assert main(["export", str(recorded), "--to", to, "-o", str(out), *more]) == 0
    return out.read_bytes()


@pytest.mark.parametrize("to", ["csv", "tensorboard"])
def test_what_was_measured_late_stands_at_its_step(to: str, tmp_path: Path) -> None:
    """Else whoever reads it finds a training that was resumed."""
    made: list[AnyFrame] = [header()]
    for step in range(1, 101):
        made.append(Scalars(step=step, wall=1000.0 + step, values={"loss": 1.0 / step}))
        if step in (60, 90):
            top, bottom = (Ritz(3.0, 0.1),), (Ritz(-1.0, 0.1),)
            made.append(Curvature(step=step - 30, wall=1000.5 + step, top=top, bottom=bottom))
            made.append(
                Scalars(
                    step=step - 30,
                    wall=1000.5 + step,
                    values={"stability/ratio": 0.5},
                    errors={"stability/ratio": 0.1},
                )
            )
    folder = record(tmp_path / "late", numbered(made))
    out = tmp_path / ("events.tfevents.1" if to == "tensorboard" else "run.csv")
    exported(folder, to, out)
    with open_path(out) as recording:
        frames = [frame for frame in recording.frames() if isinstance(frame, Scalars | Curvature)]
    assert {frame.attempt for frame in frames} == {1}
    assert [frame.step for frame in frames] == sorted(frame.step for frame in frames)
    assert [frame.step for frame in frames if "stability/ratio" in scalars(frame)[0]] == [30, 60]
    assert [frame.step for frame in frames if "hessian/min" in scalars(frame)[0]] == [30, 60]


def test_a_table_has_every_number_and_its_error(recorded: Path, tmp_path: Path) -> None:
    """Read by the standard library: bit for bit what was recorded."""
    text = exported(recorded, "csv", tmp_path / "run.csv").decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    with open_path(recorded) as recording:
        wanted = measured(recording)
    assert [int(row["step"]) for row in rows] == [step for step, _, _ in wanted]
    for row, (_, values, errors) in zip(rows, wanted, strict=True):
        assert {name: float(cell) for name, cell in row.items() if cell and name in values} == values
        assert {name: float(row[f"{name} ±"]) for name in errors} == errors
    assert rows[0]["hessian/max ±"]


@pytest.mark.parametrize("to", ["csv", "jsonl", "tensorboard"])
def test_what_is_written_is_opened_again(recorded: Path, tmp_path: Path, to: str) -> None:
    """By replay and all the rest: the same steps and values, in a table also the errors, in JSON lines all."""
    out = tmp_path / ("events.out.tfevents.1" if to == "tensorboard" else f"run.{to}")
    exported(recorded, to, out)
    with open_path(recorded) as before, open_path(out) as after:
        one, two = measured(before), measured(after)
        if to == "jsonl":
            assert one == two
            return
        assert [step for step, _, _ in one] == [step for step, _, _ in two]
        for (_, values, errors), (_, again, doubts) in zip(one, two, strict=True):
            for name in ("loss", "val/acc", "temperature/noise", "hessian/max", "hessian/min"):
                assert (name in values) == (name in again)
                if name in values:
                    assert again[name] == pytest.approx(values[name], rel=1e-6)
                    if to == "csv" and name in errors:
                        assert doubts[name] == pytest.approx(errors[name])


def test_events_are_opened_whatever_their_file_is_called(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their first checksum; that TensorBoard itself would not see them is said."""
    exported(recorded, "tensorboard", out := tmp_path / "rnn.tensorboard")
    assert "TensorBoard sees only files with `tfevents` in their names" in capsys.readouterr().err
    exported(recorded, "tensorboard", tmp_path / "rnn.tfevents")
    assert capsys.readouterr().err == ""
    with open_path(out) as recording:
        assert recording.last_step == measured(recording)[-1][0]
    (tmp_path / "noise").write_bytes(out.read_bytes()[1:])
    with pytest.raises(BadRecording, match="not a recording"):
        open_path(tmp_path / "noise")


def test_what_is_not_finite_and_what_is_huge(tmp_path: Path) -> None:
    """NaN stays NaN, infinity infinity, and four bytes of TensorBoard hold no 1e300."""
    story: list[AnyFrame] = [header(), *(Scalars(seq=2 + i, step=i, wall=5.0 + i, values={"loss": v}) for i, v in enumerate((1.0, float("nan"), float("-inf"), 1e300)))]  # fmt: skip
    folder = record(tmp_path / "recorded", story)
    rows = exported(folder, "csv", tmp_path / "run.csv").decode().splitlines()
    assert [row.split(",")[2] for row in rows] == ["loss", "1.0", "nan", "-inf", "1e+300"]
    exported(folder, "tensorboard", tmp_path / "events.out.tfevents.2")


def test_the_screen_as_a_picture_and_as_text(recorded: Path, tmp_path: Path) -> None:
    """As it was at a step, of any size, in any theme; SVG that a parser reads, the same every time."""
    svg = exported(recorded, "svg", tmp_path / "one.svg", "--at", "3500", "--size", "80x24")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg == exported(recorded, "svg", tmp_path / "two.svg", "--at", "3500", "--size", "80x24")
    assert svg != exported(
        recorded, "svg", tmp_path / "light.svg", "--at", "3500", "--size", "80x24", "--theme", "lsmon-light"
    )
    text = exported(recorded, "txt", tmp_path / "one.txt", "--page", "alerts").decode()
    assert len(text.splitlines()) == 36
    assert "saddle escape" in text and "evidence" in text


def test_each_text_of_a_picture_begins_at_its_first_letter(tmp_path: Path) -> None:
    """In its own cell, and is as long as its cells, of which a wide letter has two: so it stands in its place in every
    program, also in those that leave out blanks at the ends of a text."""
    story: list[AnyFrame] = [header("学習"), Scalars(seq=2, step=1, wall=9.0, values={"loss": 0.5})]
    svg = exported(record(tmp_path / "r", story), "svg", tmp_path / "x.svg", "--size", "80x24")
    rows = (
        exported(record(tmp_path / "r", story), "txt", tmp_path / "x.txt", "--size", "80x24")
        .decode()
        .splitlines()
    )
    assert b"https:" not in svg.replace(b"https://www.textualize.io", b""), (
        "fonts are not fetched from elsewhere"
    )
    found = 0
    for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if "textLength" not in each.attrib:  # the title of the window
            continue
        words = (each.text or "").replace("\xa0", " ")
        column, wide = (round(float(each.attrib[name]) / 12.2) for name in ("x", "textLength"))
        row = rows[int(each.attrib["clip-path"].rpartition("-")[2].rstrip(")"))]
        cells = "".join(char + " " * (cell_len(char) - 1) for char in row)
        assert words == words.strip() and wide == cell_len(words)
        assert cells[column : column + wide] == "".join(char + " " * (cell_len(char) - 1) for char in words)
        found += "学習" in words
    assert found == 1


def test_no_file_is_overwritten_and_none_is_left_half(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "there.csv"
    out.write_text("mine")
    assert main(["export", str(recorded), "--to", "csv", "-o", str(out)]) == 2
    assert out.read_text() == "mine"
    assert "There is a file already" in capsys.readouterr().err
    assert (
        main(["export", str(recorded), "--to", "svg", "-o", str(tmp_path / "x.svg"), "--size", "huge"]) == 2
    )
    assert main(["export", str(recorded), "--to", "csv", "-o", str(tmp_path / "no" / "x.csv")]) == 1
    assert main(["export", str(recorded), "--to", "xls", "-o", "-"]) == 2
    assert not list(tmp_path.glob("x.*"))


def test_a_loss_in_the_recording_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, the rest is written."""
    story = [frame for frame in frames(4000) if frame.seq not in (200, 201)]
    assert (
        main(["export", str(record(tmp_path / "r", story)), "--to", "jsonl", "-o", str(tmp_path / "x.jsonl")])
        == 3
    )
    assert "2 frames" in capsys.readouterr().err


def test_once_prints_a_frame_and_leaves(recorded: Path) -> None:
    """In a process without a terminal: the last step, the words, plain text, exit code 0."""
    done = subprocess.run(
        [sys.executable, "-m", "lsmon.tui", str(recorded), "--once", "--size", "100x30"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert len(rows) == 30
    assert "grok-p97 @ box-3" in rows[0] and "step 4 000" in rows[0]
    assert "saddle escape" in done.stdout
    assert "\x1b" not in done.stdout


def test_once_keeps_to_the_settings(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but ASCII; what cannot be read is said."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("LSMON_CONFIG", str(path))
    path.write_text("ascii = true")
    assert main([str(recorded), "--once", "--size", "140x40"]) == 0
    assert capsys.readouterr().out.isascii()
    assert main([str(recorded), "--once", "--page", "alerts"]) == 0
    assert "evidence" in capsys.readouterr().out
    path.write_text("ascii = 1")
    assert main([str(recorded), "--once"]) == 2


def test_once_says_what_it_cannot_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))
    assert main(["--once"]) == 2
    assert main(["--once", "nosuch"]) == 1
    assert main(["--once", "--size", "9"]) == 2
    assert main(["--page", "alerts"]) == main(["--size", "80x24"]) == 2  # without --once
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 5


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_theme_that_does_not_exist_is_said(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is written."""
    out = tmp_path / "x.svg"
    assert main(["export", str(recorded), "--to", "svg", "--theme", "nosuch", "-o", str(out)]) == 2
    assert "no theme 'nosuch', but lsmon-dark" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("to", ["csv", "jsonl", "tensorboard"])
@pytest.mark.parametrize(
    "option",
    [["--at", "0"], ["--page", "layers"], ["--size", "80x24"], ["--theme", "lsmon-light"]],
    ids="".join,
)
def test_what_is_for_pictures_alone_is_refused_elsewhere(
    to: str, option: list[str], recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table of the whole run is not what was asked for."""
    out = tmp_path / "out"
    assert main(["export", str(recorded), "--to", to, "-o", str(out), *option]) == 2
    said = capsys.readouterr().err
    assert (
        said == f"lsmon: Argument {option[0]}: it is for pictures, svg and txt; {to} holds the whole run.\n"
    )
    assert not out.exists()


def test_progress_is_said_after_a_second_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal only; nothing for what is over at once."""
    now = [0.0]
    monkeypatch.setattr("lsmon.tui.progress.time.monotonic", lambda: now[0])
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    with Progress("writing") as told:
        told(1, 4)
        assert out.getvalue() == ""
        now[0] = 1.5
        told(2, 4)
        assert "writing ━━━━━━━━━━━━──────────── 50%" in out.getvalue()
    assert out.getvalue().endswith("\r\x1b[K")
    before = out.getvalue()
    now[0] = 3.0
    told(3, 4)  # by what goes on reading beneath the screen
    assert out.getvalue() == before
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    with Progress("writing") as told:
        now[0] = 9.0
        told(2, 4)
    assert file.getvalue() == ""
    with Progress("writing") as told:  # and of what takes long, a line where there is no terminal
        now[0] = 20.0
        told(3, 4)
        told(3, 4)
    assert file.getvalue() == "lsmon: writing, 75%\n"


def test_parquet_names_the_way_there(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, and nothing is written."""
    out = tmp_path / "run.parquet"
    assert main(["export", str(recorded), "--to", "parquet", "-o", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "to_parquet" in said
    assert not out.exists()


def test_of_a_table_without_times_none_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No speed, no time that has gone by, none in what is exported, and not how the training ended; with times it is."""
    plain, timed = tmp_path / "plain.csv", tmp_path / "timed.csv"
    plain.write_text("step,wall,loss\n" + "".join(f"{10 * i},,{1 / (i + 1)}\n" for i in range(50)))
    timed.write_text("step,wall,loss\n" + "".join(f"{10 * i},{9e8 + i},{1 / (i + 1)}\n" for i in range(50)))
    for path, known in ((plain, False), (timed, True)):
        assert main([str(path), "--once"]) == 0
        screen = capsys.readouterr().out
        assert ("it/s" in screen, "0:49" in screen) == (known, known)
        assert "training finished" not in screen
        assert main(["tail", str(path)]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "end of the file, which does not say how it ended"
        rows = list(csv.DictReader(io.StringIO(exported(path, "csv", tmp_path / "out").decode())))
        assert [bool(row["wall"]) for row in rows] == [known] * 50
        (tmp_path / "out").unlink()
        events = tmp_path / f"events.tfevents.{path.stem}"
        exported(path, "tensorboard", events)
        with open_path(events) as again:
            assert again.header.untimed != known
