"""Steps as the loop numbers them, and numbers that are none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from lsmon.probe import Probe
from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import Alert, Scalars
from lsmon.protocol.recording.folder import list_recordings
from lsmon.protocol.recording.reader import Recording


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(tmp_path / "sockets"))
    monkeypatch.setenv("LSMON_STRICT", "0")
    return tmp_path


@pytest.mark.parametrize(
    "bad",
    [1 << 63, -(1 << 63) - 1, 1 << 20_000, math.nan, math.inf, "ten"],
    ids=("2^63", "below", "huge", "nan", "inf", "word"),
)
def test_a_step_that_no_recording_can_hold_costs_no_numbers(
    bad: Any, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told once, also after more calls than faults end a probe, and the probe counts on by itself."""
    with Probe(name="mlp") as probe:
        probe.step(1.0)
        for _ in range(20):
            probe.step(2.0, step=bad)
            probe.log(step=bad, acc=0.5)
        probe.step(3.0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lsmon: step= is off, training goes on: ")
    (folder,) = list_recordings(home / "recordings")
    with Recording.open(folder) as recording:
        frames = list(recording.frames())
        assert recording.lost == 0 and not recording.damage
    told = {frame.step: frame.values for frame in frames if isinstance(frame, Scalars)}
    assert list(told) == list(range(1, 23)) and told[22] == {"loss": 3.0}
    assert all(told[step] == {"loss": 2.0, "acc": 0.5} for step in range(2, 22))
    assert [frame.kind for frame in frames if isinstance(frame, Alert)] == ["probe_fault"]


def test_a_step_beyond_64_bits_is_an_error_when_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSMON_STRICT", "1")
    with Probe(name="mlp", record=False) as probe, pytest.raises(UsageError, match="64 bits"):
        probe.log(step=1 << 63, acc=0.5)


@pytest.mark.parametrize("step", [1.5, 2.0])
def test_a_fraction_of_a_step_is_cut_off_and_told(step: float) -> None:
    """On the status line of whoever watches; a whole number is one, whatever its type."""
    with Probe(name="mlp", record=False) as probe:
        probe.step(1.0, step=step)
        assert ("step" in probe._guard.notes) is (step == 1.5)


def test_the_last_step_that_fits_is_the_last(home: Path) -> None:
    """Where the probe counts on from there itself, too."""
    with Probe(name="mlp") as probe:
        probe.step(1.0, step=(1 << 63) - 1)
        probe.step(2.0)
    (folder,) = list_recordings(home / "recordings")
    with Recording.open(folder) as recording:
        steps = [frame.step for frame in recording.frames() if isinstance(frame, Scalars)]
        assert steps == [(1 << 63) - 1] * 2 and recording.lost == 0


def logged(home: Path, calls: list[dict[str, Any]]) -> list[tuple[int, int, dict[str, float]]]:
    """Attempt, step and values of what a loop that only logs has told."""
    with Probe(name="any-framework") as probe:
        for call in calls:
            probe.log(**call)
    (folder,) = list_recordings(home / "recordings")
    with Recording.open(folder) as recording:
        return [(one.attempt, one.step, one.values) for one in recording.frames() if isinstance(one, Scalars)]


def test_a_loop_that_only_logs_and_goes_back_has_a_new_attempt(home: Path) -> None:
    """From a checkpoint: the loss that it has there is not compared with what it was before."""
    there = [{"step": step, "loss": 1.0} for step in range(400)]
    back = [{"step": step, "loss": 2.0} for step in range(100, 300)]
    told = logged(home, there + back)
    assert [(attempt, step) for attempt, step, _ in told] == [
        *((1, step) for step in range(400)),
        *((2, step) for step in range(100, 300)),
    ]


def test_what_is_logged_late_or_by_threads_is_no_resume(home: Path) -> None:
    """A validation of twenty steps ago, and workers that log the same quantity a little out of order."""
    late = [
        {"step": step - 20, "val": 1.0} if late else {"step": step, "loss": 1.0}
        for step in range(20, 400)
        for late in (False, True)
    ]
    shuffled = [{"step": 400 + (step ^ 5), "loss": 1.0} for step in range(160)]
    assert {attempt for attempt, _, _ in logged(home, late + shuffled)} == {1}


def test_words_under_ever_new_names_are_told_a_few_times(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first twenty by name, the rest once together: neither stderr, alerts nor heartbeats grow with the run."""
    with Probe(name="mlp") as probe:
        for step in range(100):
            probe.log(step=step, **{f"caption/{step}": "a cat", "loss": 1.0})
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 21 and "value caption/0 is off" in said[0] and "more values is off" in said[-1]
    (folder,) = list_recordings(home / "recordings")
    with Recording.open(folder) as recording:
        frames = list(recording.frames())
        heartbeat = recording.heartbeat
    assert sum(isinstance(frame, Alert) for frame in frames) == 21
    assert heartbeat is not None and len(heartbeat.notes) == 21
    assert sum(isinstance(frame, Scalars) for frame in frames) == 100
