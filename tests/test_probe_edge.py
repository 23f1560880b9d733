"""The curvature sensor near the edge of stability, on a simulated clock: told in time within a budget of 5 %."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe import instruments, schedule
from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.reference import Reference
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors import look
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.probe.sensors.sensor import Context
from lsmon.protocol.frames import AnyFrame, Scalars
from lsmon.protocol.regime import Regime
from tests.clock import Clock
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.trainings import Sharpness, digits, squares

STEP_SECS = 0.002
Make = Callable[[Any], torch.optim.Optimizer]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A gradient of the reference batch takes a step's time less a tenth, a product 2.2 gradients."""
    clock = Clock(100.0)
    build, product = Hessian.__init__, Hessian.matvec

    def built(hessian: Any, *facts: Any) -> None:
        clock.now += STEP_SECS / 1.1
        build(hessian, *facts)

    def multiplied(hessian: Any, vector: Tensor) -> Tensor:
        clock.now += 2 * STEP_SECS
        return product(hessian, vector)

    monkeypatch.setattr(Hessian, "__init__", built)
    monkeypatch.setattr(Hessian, "matvec", multiplied)
    fake = SimpleNamespace(perf_counter=clock, monotonic=clock, process_time=clock)
    for module in (instruments, schedule, look):
        monkeypatch.setattr(module, "time", fake)
    return clock


def trained(make: Make, steps: int, sensor: Any, clock: Clock, share: float) -> list[Scalars]:
    """Full batches for so many steps; the losses, and in their order the ratios that the sensor told."""
    torch.manual_seed(0)
    data = digits(256)
    model = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    optimizer = make(model.parameters())
    context = Context(model, optimizer, squares, reference=Reference(data))
    found: list[Any] = []
    run = Instruments([sensor], context, Budget(share, clock=clock), Guard(strict=True), found.append)
    frames: list[Scalars] = []
    for step in range(1, steps + 1):
        clock.now += STEP_SECS
        loss = squares(model, data)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        run.step(step, 1, data)
        frames.append(Scalars(step=step, values={"loss": float(loss.detach())}))
        frames += [frame for frame in found if isinstance(frame, Scalars) and "stability/ratio" in frame.values]  # fmt: skip
        found.clear()
    run.close()
    return frames


def told(frames: list[AnyFrame]) -> int | None:
    regime = Regime()
    verdicts = [(frame.step, verdict) for frame in frames if (verdict := regime.see(frame)) is not None]
    return next((step for step, verdict in verdicts if verdict.label == "edge of stability"), None)


@pytest.mark.parametrize(
    ("make", "steps", "share"),
    [
        (lambda p: torch.optim.SGD(p, 0.14), 300, 0.05),
        (lambda p: torch.optim.SGD(p, 0.13), 350, 1.0),
        (lambda p: torch.optim.SGD(p, 0.08, momentum=0.9, nesterov=True), 300, 1.0),
        (lambda p: torch.optim.Adam(p, 0.03), 260, 0.05),
        (lambda p: torch.optim.Adam(p, 0.03), 260, 1.0),
    ],
)
def test_the_edge_is_told_when_it_is_crossed(make: Make, steps: int, share: float, clock: Clock) -> None:
    """By the real engine, within 50 steps of the crossing and not before, and within the budget."""
    sensor = CurvatureSensor()
    frames = trained(make, steps, sensor, clock, share)
    truth = trained(make, steps, Sharpness(10), clock, 1.0)
    ratios = [(f.step, f.values["stability/ratio"]) for f in truth if "stability/ratio" in f.values]
    started = 30  # Adam's first steps have no metric worth the name, with a ratio of 4 that falls at once
    before, after = next(
        (then, now) for (then, one), (now, other) in pairwise(ratios) if then > started and one < 1.0 <= other
    )
    step = told([*frames])
    assert step is not None
    assert before <= step <= after + 50
