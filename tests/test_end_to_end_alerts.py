"""The same training, three ways: as its probe told it, from its recording, and from a table of its numbers."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from pathlib import Path

import pytest

from lsmon.probe.guard import Guard
from lsmon.probe.sender import Sender
from lsmon.protocol.frames import Alert, AnyFrame, Curvature, RunEnded, RunStarted, Scalars
from lsmon.protocol.recording.folder import new_folder
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.writer import Recorder
from lsmon.tui.cli import main
from tests.corpus.run import Run

Told = tuple[str, int, int]


def told(alert: Alert) -> Told:
    return alert.kind, alert.step, alert.onset_step


def live(run: Run, root: Path) -> tuple[Path, list[Told]]:
    """Sent by the probe's sender into a recording; the folder, and what it told meanwhile."""
    header = RunStarted(seq=1, run="abcd", name=run.name, wall=1000.0)
    folder = new_folder(root, header)
    heard: list[Told] = []
    sender = Sender(
        header,
        [Recorder(folder, header)],
        guard=Guard(strict=True),
        on_alert=lambda alert: heard.append(told(alert)),
    )
    for number, frame in enumerate(run.frames()):
        sender.put(frame.step, frame.attempt, frame.values if isinstance(frame, Scalars) else frame)
        if number % 4000 == 3999:
            sender.turn()
    sender.close(RunEnded(), 1.0)
    return folder, heard


def table(frames: list[AnyFrame], path: Path) -> None:
    """A line a step, with all that the detectors look at."""
    rows: dict[int, dict[str, float]] = {}
    for frame in frames:
        row = rows.setdefault(frame.step, {})
        if isinstance(frame, Scalars):
            row.update(frame.values)
        elif isinstance(frame, Curvature):
            assert frame.grad_curvature is not None and frame.loss is not None and frame.grad_norm is not None
            row |= {
                "hessian/max": frame.top[0].value, "hessian/min": frame.bottom[0].value, "hessian/loss": frame.loss,
                "hessian/grad_curvature": frame.grad_curvature, "hessian/grad_norm": frame.grad_norm,
            }  # fmt: skip
            if frame.displacement is not None and frame.displacement_curvature is not None:
                row["hessian/displacement"] = frame.displacement
                row["hessian/displacement_curvature"] = frame.displacement_curvature
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", *names])
        writer.writerows([step, *(row.get(name, "") for name in names)] for step, row in rows.items())


def from_command(path: Path, capsys: pytest.CaptureFixture[str]) -> list[Told]:
    assert main(["alerts", str(path), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(line["kind"], line["step"], line["onset_step"]) for line in lines]


@pytest.mark.parametrize("name", ["linear2-sgd-0", "addition-00", "spike-1"])
def test_alerts_are_the_same(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, heard = live(Run.load(name), tmp_path)
    assert len(heard) >= 2
    with closing(Recording.open(folder)) as recording:
        frames = list(recording.frames())
    assert [told(frame) for frame in frames if isinstance(frame, Alert)] == heard
    assert from_command(folder, capsys) == heard
    table(frames, tmp_path / "run.csv")
    assert from_command(tmp_path / "run.csv", capsys) == heard
    assert main(["tail", str(folder), "--json"]) == 0
    (tmp_path / "run.jsonl").write_text(capsys.readouterr().out)
    assert from_command(tmp_path / "run.jsonl", capsys) == heard


def test_other_thresholds_tell_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, heard = live(Run.load("linear2-0"), tmp_path)
    escapes = [kind for kind, _, _ in heard if kind == "saddle_escape"]
    assert main(["alerts", str(folder), "--set", "saddle.plateau_steps=300"]) == 0
    assert capsys.readouterr().out.count("saddle escape") < len(escapes)
    for wrong in ("saddle.plateau_steps", "saddle.plateau_stepz=1", "saddle.plateau_steps=soon"):
        assert main(["alerts", str(folder), "--set", wrong]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert (line.startswith("lsmon: ") and line.endswith(".")) or "?" in line
