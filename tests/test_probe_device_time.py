"""What a turn cost on a device, learned later: with events that a test completes by hand."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from lsmon.probe.device_time import DeviceTime
from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.sensor import Context, Sensor
from tests.clock import Clock


@dataclass
class Event:
    """Done at ``at`` milliseconds, once it is; None until then."""

    at: float | None = None

    def record(self) -> None:
        pass

    def query(self) -> bool:
        return self.at is not None

    def elapsed_time(self, other: Event) -> float:
        assert self.at is not None and other.at is not None
        return other.at - self.at


def test_costs_are_told_in_order_as_they_become_known() -> None:
    """The larger of the host's and the device's seconds, and nothing is waited for."""
    made: list[Event] = []
    told: list[float] = []

    def make() -> Event:
        made.append(Event())
        return made[-1]

    device = DeviceTime(None, make)
    for host in (0.001, 0.5):
        device.end(device.begin(), host, told.append)
    device.poll()
    assert told == []
    made[2].at, made[3].at = 20.0, 30.0
    device.poll()
    assert told == []  # the first one is not done yet
    made[0].at, made[1].at = 0.0, 20.0
    device.poll()
    assert told == [0.02, 0.5]


def test_without_a_device_the_host_tells_at_once() -> None:
    """A model on the CPU, or none."""
    for model in (None, torch.nn.Linear(2, 2)):
        told: list[float] = []
        device = DeviceTime(model)
        device.end(device.begin(), 0.25, told.append)
        assert told == [0.25]


class Busy(Sensor):
    """Whose call returns at once while its device works on."""

    name = "busy"

    def __init__(self) -> None:
        self.costs: list[float] = []

    def measure(self, context: Context) -> None:
        return None

    def took(self, seconds: float) -> None:
        self.costs.append(seconds)


def test_the_budget_is_charged_what_the_device_took() -> None:
    """A turn of 30 ms on the device counts as such, although its call took no time."""
    clock, sensor = Clock(100.0), Busy()
    budget = Budget(0.5, clock=clock)
    instruments = Instruments([sensor], Context(), budget, Guard(strict=True), lambda found: None)
    made: list[Event] = []

    def make() -> Event:
        made.append(Event())
        return made[-1]

    instruments._device = DeviceTime(None, make)
    instruments.step(1, 1, None)
    assert len(made) == 2 and budget.spent < 0.01
    made[0].at, made[1].at = 5.0, 35.0
    instruments.step(2, 1, None)
    assert sensor.costs[0] == 0.03
    assert budget.spent >= 0.03


def test_a_stall_is_told_from_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20 turns one lasts a second in which the process runs for 1 ms: on a processor it leaves no debt."""
    for device, stalls in (("cpu", True), ("meta", False)):
        clock, ran = Clock(100.0), Clock(0.0)
        budget = Budget(0.5, head_start=10.0, clock=clock)

        class Sleepy(Sensor):
            name, lasts = "sleepy", 0.001

            def measure(self, context: Context) -> None:
                clock.now += self.lasts  # noqa: B023
                ran.now += 0.001  # noqa: B023

        sensor, model = Sleepy(), torch.nn.Linear(2, 2, device=device)
        instruments = Instruments([sensor], Context(model), budget, Guard(strict=True), lambda found: None)
        with monkeypatch.context() as patch:
            patch.setattr(
                "lsmon.probe.instruments.time", SimpleNamespace(perf_counter=clock, process_time=ran)
            )
            for step in range(20):
                instruments.step(step, 1, None)
            account = budget._accounts[0]
            account._balance, sensor.lasts = 3.0, 1.0
            instruments.step(20, 1, None)
        assert budget.spent == pytest.approx(1.02)
        assert account.saved == pytest.approx(3.5 - (0.001 if stalls else 1.0), abs=0.01)
