"""The oath, clauses 1 and 2: the probe changes nothing in a training, and no fault of its own reaches it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lsmon.probe import Probe
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.probe.sensors.sensor import Context, Finding, Sensor
from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import Alert, AnyFrame, Curvature, Heartbeat, Mark, RunEnded, RunStarted, Scalars
from lsmon.protocol.recording.folder import list_recordings
from lsmon.protocol.recording.reader import Recording
from tests.trainings import everything

Batch = tuple[Tensor, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has a state folder of its own, and one torch thread."""
    monkeypatch.setenv("LSMON_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(tmp_path))
    for name in ("LSMON", "LSMON_RUN_NAME", "LSMON_BUDGET", "LSMON_RECORD", "LSMON_RANKS", "RANK"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def recorded(tmp_path: Path) -> list[AnyFrame]:
    """Every frame of the newest recording."""
    folders = list_recordings(tmp_path / "state" / "recordings")
    recording = Recording.open(max(folders, key=lambda folder: folder.stat().st_mtime_ns))
    try:
        return list(recording.frames())
    finally:
        recording.close()


def of(frames: list[AnyFrame], kind: type[Any]) -> list[Any]:
    return [frame for frame in frames if isinstance(frame, kind)]


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def drawing_loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    """Draws from all three global generators and augments the batch."""
    noise = torch.randn_like(batch[0]) * random.random() * float(np.random.rand())
    return nn.functional.cross_entropy(model(batch[0] + 0.01 * noise), batch[1])


def make_sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)


def make_adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), 1e-3)


def train(
    make: Callable[[nn.Module], torch.optim.Optimizer],
    start: Callable[[nn.Module, torch.optim.Optimizer], Probe | None],
    steps: int,
    loss_fn: Loss = loss_fn,
) -> dict[str, Any]:
    """A net with dropout, BatchNorm and one frozen BatchNorm; everything that a probe might have touched."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    model = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
    )  # fmt: skip
    model[5].eval()
    optimizer = make(model)
    inputs, labels = torch.randn(256, 8), torch.randint(0, 3, (256,))
    probe = start(model, optimizer)
    losses = []
    for step in range(steps):
        rows = torch.randint(0, 256, (128,))
        batch = inputs[rows], labels[rows]
        loss = loss_fn(model, batch)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.detach().clone())
        if probe is not None:
            probe.step(loss, batch)
            if step % 10 == 0:
                probe.log(**{"val/loss": loss})
        if step < steps - 1:
            optimizer.zero_grad()
    if probe is not None:
        probe.close()
    return {
        "losses": torch.stack(losses),
        "model": model.state_dict(),
        "gradients": [parameter.grad for parameter in model.parameters()],
        "optimizer": optimizer.state_dict(),
        "flags": [module.training for module in model.modules()],
        "streams": (torch.get_rng_state(), random.getstate(), np.random.get_state()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
    }


def assert_same(one: Any, two: Any, where: str = "") -> None:
    """Equal to the last bit, all the way down."""
    assert type(one) is type(two), where
    if isinstance(one, Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, np.ndarray):
        assert np.array_equal(one, two), where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_same(one[key], two[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for index, (left, right) in enumerate(zip(one, two, strict=True)):
            assert_same(left, right, f"{where}/{index}")
    else:
        assert one == two, where


def absent(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    return None


@pytest.mark.parametrize(("make", "loss"), [(make_adam, loss_fn), (make_sgd, drawing_loss_fn)])
def test_training_is_bit_identical_with_the_probe(
    make: Callable[[nn.Module], torch.optim.Optimizer],
    loss: Loss,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Probe on, off (LSMON=0) and absent: the same parameters, buffers, gradients, optimizer state, flags, losses and
    random streams after 300 steps, though curvature, temperature and scale were measured again and again."""

    def start(model: nn.Module, optimizer: torch.optim.Optimizer) -> Probe:
        return Probe(model, optimizer, loss, name="oath", budget=1.0, sensors=everything())

    without = train(make, absent, 300, loss)
    watched = train(make, start, 300, loss)
    frames = recorded(tmp_path)
    monkeypatch.setenv("LSMON", "0")
    off = train(make, start, 300, loss)
    assert_same(without, watched)
    assert_same(without, off)
    assert len(list_recordings(tmp_path / "state" / "recordings")) == 1
    curvatures = [curvature for curvature in of(frames, Curvature) if curvature.top]
    assert len(curvatures) >= 5  # Adam pays for two spectra a measurement
    assert all(c.batch == 512 and 0 < c.hvps <= 13 and c.top[0].value > 0 for c in curvatures)
    assert (curvatures[-1].preconditioned is not None) == (make is make_adam)
    names = {name for frame in of(frames, Scalars) for name in frame.values}
    expected = {"loss", "val/loss", "lr", "grad/norm", "weight/norm", "update/ratio", "temperature/noise", "temperature/thermal_loss"}  # fmt: skip
    assert expected <= names
    assert {
        "hessian/edge",
        "stability/ratio",
        "temperature/equilibrium",
        "diffusion/exponent",
        "regime",
    } <= names
    numbers = [frame.seq for frame in frames if not isinstance(frame, Heartbeat)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [frame.step for frame in of(frames, Scalars) if "loss" in frame.values] == list(range(1, 301))
    assert of(frames, RunEnded)[0].reason == "finished"


class Failing(Sensor):
    """Raises in the middle of the run, at a place of its choice."""

    name = "failing"
    needs = ("optimizer",)

    def __init__(self, place: str) -> None:
        self.place = place
        self.calls = 0

    def _maybe(self, place: str) -> None:
        if place == self.place:
            self.calls += 1
            if self.calls == 20:
                raise RuntimeError("boom [/red]\x1b[31m")

    def before_update(self, context: Context) -> None:
        self._maybe("before")

    def after_update(self, context: Context) -> None:
        self._maybe("after")

    def measure(self, context: Context) -> Finding:
        self._maybe("measure")
        return {"failing/calls": self.calls}


@pytest.mark.parametrize("place", ["before", "after", "measure", "loss_fn", "callback", "log", "loss"])
def test_a_fault_changes_nothing_and_is_told_once(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sensor, a callback, the loss function or a value that fails in the middle: training is bit-identical, the part
    is switched off, and it is said once on stderr, as an alert, and in every heartbeat."""
    monkeypatch.setenv("LSMON_STRICT", "0")
    without = train(make_sgd, absent, 150)
    called = 0

    def bad_loss(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal called
        called += 1
        if called >= 3:
            model(batch[0])
            torch.rand(5)
            raise ValueError("no loss today")
        return loss_fn(model, batch)

    def bad_callback(alert: Alert) -> None:
        raise KeyError("callback")

    def start(model: nn.Module, optimizer: torch.optim.Optimizer) -> Probe:
        sensors: list[Sensor] = [Failing(place), CurvatureSensor(steps=8)]
        probe = Probe(model, optimizer, bad_loss, name="fault", budget=1.0, sensors=sensors)
        probe.on("nonfinite", bad_callback)
        if place == "callback":
            probe.log(broken=float("nan"))
        for _ in range(3 if place in ("log", "loss") else 0):
            if place == "log":
                probe.log(word="text")
            else:
                probe.step(torch.ones(3), step=0)
        return probe

    def closing(model: nn.Module, optimizer: torch.optim.Optimizer) -> Probe:
        probe = start(model, optimizer)
        if place == "callback":  # the alert comes from another thread; wait until it is there
            deadline = time.monotonic() + 10
            while not probe._listeners._waiting and time.monotonic() < deadline:
                time.sleep(0.005)
        return probe

    watched = train(make_sgd, closing, 150)
    assert_same(without, watched)
    frames, told = recorded(tmp_path), capsys.readouterr().err
    part = {
        "loss_fn": "curvature",
        "callback": "callback on nonfinite",
        "log": "value word",
        "loss": "value loss",
    }
    name = part.get(place, "failing")
    assert told.count(f"lsmon: {name} is off, training goes on") == 1
    assert "\x1b" not in told
    faults = [alert for alert in of(frames, Alert) if alert.kind == "probe_fault" and name in alert.message]
    assert len(faults) == 1
    assert faults[0].severity == "warning"
    assert of(frames, Heartbeat)[-1].notes[name].startswith("off: ")
    assert len([f for f in of(frames, Scalars) if "loss" in f.values]) == 150
    assert of(frames, RunEnded)


def test_strict_mode_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """With LSMON_STRICT=1 a swallowed fault comes out at the call that ran into it."""
    monkeypatch.setenv("LSMON_STRICT", "1")
    with Probe(name="strict") as probe, pytest.raises(TypeError, match="not a number"):
        probe.log(word="text")


def test_numbers_from_any_framework(tmp_path: Path) -> None:
    """Without a model: Python, numpy and tensor numbers, marks, and steps that go back open a new attempt."""
    with Probe(name="plain [/foo]\x1b[31m", config={"lr": 0.1}) as probe:
        probe.step(1.5)
        probe.step(torch.tensor(0.5, requires_grad=True), step=10)
        probe.log(acc=np.float32(0.25), seen=7)
        probe.log(step=10, late=True)
        probe.mark("resumed")
        probe.step(np.float64(2.0), step=5)
    frames = recorded(tmp_path)
    scalars = of(frames, Scalars)
    assert [(f.step, f.attempt, f.values) for f in scalars] == [
        (1, 1, {"loss": 1.5}),
        (10, 1, {"loss": 0.5, "acc": 0.25, "seen": 7.0, "late": 1.0}),
        (5, 2, {"loss": 2.0}),
    ]
    assert [mark.note for mark in of(frames, Mark)] == ["config: lr=0.1", "resumed"]
    (header,) = of(frames, RunStarted)
    assert (header.seq, header.pid) == (1, os.getpid())
    assert "\x1b" not in header.name


def test_an_exception_in_the_loop_is_the_end_that_is_recorded(tmp_path: Path) -> None:
    """The context manager passes it on and notes its type and message; closing again is fine."""
    with pytest.raises(ValueError, match="diverged"), Probe(name="error") as probe:
        probe.step(1.0)
        raise ValueError("diverged")
    probe.close()
    probe.step(2.0)
    (end,) = of(recorded(tmp_path), RunEnded)
    assert (end.reason, end.error) == ("error", "ValueError: diverged")


def test_callbacks_run_on_the_training_thread(tmp_path: Path) -> None:
    """A callback gets the alert in a later ``step``, and what it does there is the loop's own."""
    heard: list[Alert] = []
    with Probe(name="callback") as probe:
        probe.on("nonfinite", heard.append)
        probe.step(float("inf"))
        deadline = time.monotonic() + 10
        while not heard and time.monotonic() < deadline:
            probe.step(1.0)
            time.sleep(0.005)
    assert heard[0].kind == "nonfinite"


def test_a_sensor_of_ten_lines(tmp_path: Path) -> None:
    """Somebody's own sensor, with a cadence."""

    class Bias(Sensor):
        name = "bias"
        every = 5

        def measure(self, context: Context) -> Finding:
            return {"bias/mean": context.model.bias.mean()}

    model = nn.Linear(3, 2)
    with Probe(model, sensors=[Bias()], name="own", budget=1.0) as probe:
        for _ in range(20):
            probe.step(1.0)
    steps = [f.step for f in of(recorded(tmp_path), Scalars) if "bias/mean" in f.values]
    assert steps == [1, 6, 11, 16]


def test_what_is_missing_is_said_in_words(tmp_path: Path) -> None:
    """No loss_fn, no optimizer, no batch: the panels' empty states say what to do."""
    with Probe(nn.Linear(2, 2), name="notes") as probe:
        probe.step(1.0)
    notes = of(recorded(tmp_path), Heartbeat)[-1].notes
    assert notes["curvature"] == "needs loss_fn given to Probe"
    assert notes["scale"] == "needs optimizer given to Probe"
    model = nn.Linear(8, 3)
    with Probe(model, make_sgd(model), loss_fn, name="notes") as probe:
        probe.step(1.0)
    notes = of(recorded(tmp_path), Heartbeat)[-1].notes
    assert notes["curvature"] == "pass the batch to step() or reference= to Probe"


@pytest.mark.parametrize(
    "wrong",
    [
        {"listen": "tcp://*:5555"},
        {"sensors": "everything"},
        {"budget": 7.0},
        {"budget": -0.1},
        {"budget": "much"},
        {"budget": None},
        {"listen": 5555},
        {"config": SimpleNamespace(lr=0.1)},
        {"config": [("lr", 0.1)]},
        {"model": nn.Linear(1, 1), "reference": "text"},
    ],
)
def test_wrong_arguments_are_told_before_training(wrong: dict[str, Any]) -> None:
    """A sentence, at once."""
    with pytest.raises(UsageError, match=r"\."):
        Probe(**wrong)


def test_a_model_of_another_framework_is_only_named(tmp_path: Path) -> None:
    """What is no torch module is logged for, not measured."""

    class Params:
        pass

    with Probe(Params(), name="other") as probe:
        probe.step(1.0, step=np.int64(3))
    frames = recorded(tmp_path)
    assert of(frames, RunStarted)[0].model == "Params"
    assert [frame.step for frame in of(frames, Scalars)] == [3]


def test_only_rank_zero_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under torchrun the others are silent unless LSMON_RANKS names them."""
    monkeypatch.setenv("RANK", "3")
    with Probe(name="rank") as probe:
        probe.step(1.0)
    assert not list_recordings(tmp_path / "state" / "recordings")
    monkeypatch.setenv("LSMON_RANKS", "0,3")
    with Probe(name="rank") as probe:
        probe.step(1.0)
    assert {frame.rank for frame in recorded(tmp_path)} == {3}


def run(code: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, "LSMON_DIR": str(tmp_path / "state"), "LSMON_RUNTIME_DIR": str(tmp_path), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_off_loads_nothing(tmp_path: Path) -> None:
    """LSMON=0 starts no thread, writes no file and imports neither zmq nor torch nor the recorder."""
    done = run(
        """
        import sys, threading
        from lsmon.probe import Probe
        probe = Probe(object(), object(), len, listen="tcp://*:1")
        probe.step(1.0); probe.log(a=1); probe.mark("x"); probe.on("nonfinite", print); probe.close()
        loaded = {"zmq", "torch", "mcap", "textual", "rich", "numpy"} & set(sys.modules)
        assert not loaded, loaded
        assert threading.active_count() == 1
        """,
        tmp_path,
        LSMON="0",
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "state").exists()


def test_a_probe_without_a_model_loads_no_torch(tmp_path: Path) -> None:
    """Numbers of any framework are logged without it, and neither textual nor rich is ever loaded."""
    done = run(
        """
        import sys
        from lsmon.probe import Probe
        with Probe() as probe:
            probe.step(1.0)
        loaded = {"torch", "textual", "rich"} & set(sys.modules)
        assert not loaded, loaded
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert of(recorded(tmp_path), RunEnded)


def test_the_end_of_the_interpreter_closes(tmp_path: Path) -> None:
    """Without ``close`` the record is finished at exit, with the uncaught exception when there was one."""
    done = run(
        """
        from lsmon.probe import Probe
        probe = Probe()
        for _ in range(100): probe.step(1.0)
        raise RuntimeError("uncaught")
        """,
        tmp_path,
    )
    assert "uncaught" in done.stderr
    frames = recorded(tmp_path)
    assert len(of(frames, Scalars)) == 100
    assert of(frames, RunEnded)[0].error == "RuntimeError: uncaught"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_silent(tmp_path: Path) -> None:
    """In a forked worker every call is a no-op, and its normal exit adds nothing to the parent's record."""
    done = run(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        from lsmon.probe import Probe
        probe = Probe()
        for _ in range(50): probe.step(1.0)
        child = os.fork()
        if child == 0:
            probe.step(666.0); probe.log(a=1); probe.close()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        for _ in range(50): probe.step(1.0)
        probe.close()
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    frames = recorded(tmp_path)
    assert [frame.values["loss"] for frame in of(frames, Scalars)] == [1.0] * 100
    numbers = [frame.seq for frame in frames if not isinstance(frame, Heartbeat)]
    assert numbers == list(range(1, len(numbers) + 1))
