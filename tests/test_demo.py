"""The demos are short enough to be read, run, and leave a recording behind."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lsmon.protocol.frames import Curvature, Scalars
from lsmon.protocol.recording.folder import list_recordings
from lsmon.protocol.recording.reader import Recording

DEMO = Path(__file__).parent.parent / "demo"


def run(name: str, steps: int, home: Path) -> tuple[str, Recording]:
    """What the shortened demo said, and its recording. The probe may take what it wants, so that speed does not matter."""
    said = subprocess.run(
        [sys.executable, "-c", f"from lsmon.demo.{name} import main; main(steps={steps})"],
        env={**os.environ, "LSMON_DIR": str(home), "LSMON_BUDGET": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    (folder,) = list_recordings(home / "recordings")
    return said.stdout, Recording.open(folder)


def series(recording: Recording, name: str) -> dict[int, float]:
    return {
        frame.step: frame.values[name]
        for frame in recording.frames()
        if isinstance(frame, Scalars) and name in frame.values
    }


@pytest.mark.parametrize("path", sorted(DEMO.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_demo_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 120


def test_grokking_records_training_and_validation(tmp_path: Path) -> None:
    said, recording = run("grokking", 50, tmp_path)
    with closing(recording):
        assert recording.ended is not None and recording.ended.reason == "finished"
        assert recording.lost == recording.dropped == 0
        assert sorted(series(recording, "loss")) == list(range(1, 51))
        assert series(recording, "val/acc").keys() == series(recording, "train/acc").keys() == {50}
    assert "after 50 steps" in said.splitlines()[-1]


def test_the_first_saddle_has_the_curvature_that_theory_gives(tmp_path: Path) -> None:
    """Before anything is learned the Hessian's extremes are plus and minus the first singular value, here 4, to 1 %."""
    said, recording = run("saddle", 50, tmp_path)
    with closing(recording):
        assert recording.ended is not None
        curvature = [frame for frame in recording.frames() if isinstance(frame, Curvature)]
        assert all(frame.top[0].value == pytest.approx(4.0, rel=0.01) for frame in curvature)
        lowest = [frame.bottom[0].value for frame in curvature if frame.bottom]
        assert lowest and all(value == pytest.approx(-4.0, rel=0.01) for value in lowest)
    assert "after 50 steps" in said.splitlines()[-1]


def test_the_edge_that_is_told_is_that_of_the_learning_rate(tmp_path: Path) -> None:
    """2/η, Cohen et al. 2021."""
    said, recording = run("edge", 200, tmp_path)
    with closing(recording):
        assert recording.ended is not None
        edges = series(recording, "hessian/edge")
        assert edges and all(edge == pytest.approx(2 / 0.22, rel=1e-5) for edge in edges.values())
    assert "after 200 steps" in said.splitlines()[-1]


def test_the_temperature_is_read_back(tmp_path: Path) -> None:
    """Of 4810 parameters and 24 pairs of micro-batches: to 0.4 %, so 2 % is five times the error."""
    _, recording = run("langevin", 120, tmp_path)
    with closing(recording):
        heats = series(recording, "temperature/noise")
        first = [heat for step, heat in heats.items() if step < 60]
        later = [heat for step, heat in heats.items() if step > 60]
        assert first[-1] == pytest.approx(1e-4, rel=0.02)
        assert later[-1] == pytest.approx(1e-3, rel=0.02)


def test_chargpt_records_its_validation_and_its_clipping(tmp_path: Path) -> None:
    said, recording = run("chargpt", 12, tmp_path)
    with closing(recording):
        assert sorted(series(recording, "loss")) == list(range(1, 13))
        assert series(recording, "val/loss").keys() == {12}
    assert "after 12 steps" in said.splitlines()[-1]
