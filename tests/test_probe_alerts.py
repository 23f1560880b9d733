"""Alerts while training: thresholds from ``config``, and denser curvature when a detector is undecided."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lsmon.probe import Probe
from lsmon.probe.guard import Guard
from lsmon.probe.sender import Sender
from lsmon.probe.sensors.sensor import Context, Finding, Sensor
from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import Alert, Curvature, Ritz, RunEnded, RunStarted


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("LSMON", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def measured(step: int, along: float) -> Curvature:
    return Curvature(
        step=step,
        top=(Ritz(1.0, 0.0, True),),
        bottom=(Ritz(-0.5, 0.0, True),),
        grad_curvature=along,
        loss=1.0,
    )


def test_a_first_sign_asks_for_denser_curvature_until_it_is_decided() -> None:
    wishes: list[str] = []
    sender = Sender(RunStarted(seq=1), [], guard=Guard(), on_wish=wishes.append)
    for step, along in enumerate([0.4, -0.3, -0.3, 0.4, 0.4]):
        sender.put(step, 1, measured(step, along))
    sender.close(RunEnded(), 1.0)
    assert wishes == ["saddle_undecided"] * 2


def test_the_wish_reaches_the_sensors_on_the_training_thread() -> None:
    """As ``request``, which the curvature sensor grants."""

    class Fake(Sensor):
        name = "fake"

        def __init__(self) -> None:
            self.asked: list[str] = []

        def measure(self, context: Context) -> Finding:
            return measured(context.step, -0.3)

        def request(self, why: str) -> bool:
            self.asked.append(why)
            return True

    fake = Fake()
    with Probe(nn.Linear(1, 1), sensors=[fake], name="wish", budget=1.0) as probe:
        deadline = time.monotonic() + 10
        while "saddle_undecided" not in fake.asked and time.monotonic() < deadline:
            probe.step(1.0)
            time.sleep(0.002)
    assert "saddle_undecided" in fake.asked


def test_thresholds_come_with_the_configuration() -> None:
    """A spike of the loss that is none by default."""
    heard: list[Alert] = []
    with Probe(
        name="set", config={"lr": 0.1, "alerts": {"loss_spike.rise": 0.05, "loss_spike.warm_up": 20}}
    ) as probe:
        probe.on("loss_spike", heard.append)
        for step in range(60):
            probe.step(1.0 if step < 50 else 1.2)
        deadline = time.monotonic() + 10
        while not heard and time.monotonic() < deadline:
            probe.step(1.2)
            time.sleep(0.005)
    assert heard and heard[0].onset_step in range(50, 53)


@pytest.mark.parametrize(
    "wrong", [{"alerts": {"saddle.nothing": 1}}, {"alerts": 3}, {"alerts": {"saddle.turned": 2}}]
)
def test_a_threshold_that_is_none_is_told_before_training(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"\.$"):
        Probe(config=wrong)
