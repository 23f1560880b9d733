"""Langevin dynamics of an L2-regularised network at a temperature that is known; the hundred repetitions are in
``tests/bench/langevin.py``."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.equilibrium import Equilibrium
from lsmon.probe.sensors.sensor import Context
from lsmon.probe.sensors.temperature import Temperature
from lsmon.protocol.frames import Scalars


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors and a shared machine: threads would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def langevin(
    seed: int, steps: int, *, bare: bool = False, temperature: float = 1e-3
) -> tuple[list[Scalars], list[Tensor]]:
    """SGLD by two micro-batches, each with the whole data's loss and a noise of its own in its linear term."""
    lr, decay = 0.1, 1e-2
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 10))
    inputs, labels = torch.randn(64, 16), torch.randint(0, 10, (64,))
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr, weight_decay=decay)
    noise = torch.Generator().manual_seed(seed)

    def loss_fn(model: nn.Module, batch: list[Tensor]) -> Tensor:
        linear = [(p * n.mean(0)).sum() for p, n in zip(model.parameters(), batch, strict=True)]
        return nn.functional.cross_entropy(model(inputs), labels) + torch.stack(linear).sum()

    found: list[Scalars] = []
    context = Context(model, optimizer, loss_fn)
    sensors = [] if bare else [Temperature(), Equilibrium()]
    instruments = Instruments(sensors, context, Budget(1.0), Guard(strict=True), found.append)
    for step in range(steps):
        scale = math.sqrt(2 * 2 * temperature / lr)
        batch = [scale * torch.randn(2, *p.shape, generator=noise) for p in parameters]
        for part in range(2):
            torch.autograd.backward(loss_fn(model, [n[part : part + 1] for n in batch]) / 2)
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, batch)
    instruments.close()
    return found, [p.detach() for p in parameters]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_network_in_a_bath_of_known_temperature(seed: int) -> None:
    """T within 5 % and within two errors, at n = 96, while the network is still learning."""
    found, _ = langevin(seed, 110)
    frame = [frame for frame in found if "temperature/noise" in frame.values][-1]
    value, error = frame.values["temperature/noise"], frame.errors["temperature/noise"]
    assert value == pytest.approx(1e-3, rel=0.05)
    assert abs(value - 1e-3) <= 2 * error
    assert "micro-batches, M=2, n=96, identity metric, d=658" in frame.words["temperature/noise"]


def test_watching_micro_batches_changes_nothing() -> None:
    """The parameters are the same to the last bit with the sensors and without."""
    _, watched = langevin(0, 60)
    _, alone = langevin(0, 60, bare=True)
    assert all(torch.equal(one, two) for one, two in zip(watched, alone, strict=True))
