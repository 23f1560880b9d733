"""What a loop carries from batch to batch, or begins anew: a measurement reads it, and the loop finds its own again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsmon.probe import Probe
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.protocol.frames import Curvature
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.test_probe_oath import of, own_folders, recorded
from tests.test_probe_reach import dense

__all__ = ["own_folders"]  # a fixture, used by name

State = tuple[Tensor, Tensor] | None
LossFn = Callable[[Any, Tensor], Tensor]
Look = Callable[[], State]

STATE: State = None


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(3, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self.cell(x, state)
        return self.head(y), state


def advanced(model: nn.Module, x: Tensor, state: State) -> tuple[Tensor, State]:
    """The loss, and the state that the next batch begins with."""
    y, state = model(x, state)
    assert state is not None
    labels = torch.arange(y[..., 0].numel()) % 3
    return F.cross_entropy(y.flatten(0, 1), labels), (state[0].detach(), state[1].detach())


def in_a_closure() -> tuple[LossFn, Look]:
    state: State = None

    def loss_fn(model: nn.Module, x: Tensor) -> Tensor:
        nonlocal state
        loss, state = advanced(model, x, state)
        return loss

    return loss_fn, lambda: state


def as_a_global() -> tuple[LossFn, Look]:
    global STATE
    STATE = None

    def loss_fn(model: nn.Module, x: Tensor) -> Tensor:
        global STATE
        loss, STATE = advanced(model, x, STATE)
        return loss

    return loss_fn, lambda: STATE


class Trainer:
    def __init__(self) -> None:
        self.state: State = None

    def loss(self, model: nn.Module, x: Tensor) -> Tensor:
        loss, self.state = advanced(model, x, self.state)
        return loss


def in_a_trainer() -> tuple[LossFn, Look]:
    trainer = Trainer()
    return trainer.loss, lambda: trainer.state


def in_a_trainer_that_is_named() -> tuple[LossFn, Look]:
    trainer = Trainer()
    return lambda model, x: trainer.loss(model, x), lambda: trainer.state


@pytest.mark.parametrize("make", [in_a_closure, as_a_global, in_a_trainer, in_a_trainer_that_is_named])
def test_a_state_of_two_tensors_is_the_loops(make: Callable[[], tuple[LossFn, Look]], tmp_path: Path) -> None:
    """The training is the same to the last bit, and each value is that of the state at its step."""
    x = torch.randn(16, 5, 3, generator=torch.Generator().manual_seed(1))
    ends, then = [], {}
    for probed in (False, True):
        torch.manual_seed(0)
        model, (loss_fn, look) = Recurrent(), make()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        sensors = [CurvatureSensor()]
        probe = Probe(model, optimizer, loss_fn, budget=1.0, reference=x, sensors=sensors) if probed else None
        for step in range(1, 61):
            optimizer.zero_grad()
            loss = loss_fn(model, x)
            torch.autograd.backward(loss)
            optimizer.step()
            then[step] = copy.deepcopy(model), look()
            if probe is not None:
                probe.step(loss, x)
        if probe is not None:
            probe.close()
        ends.append([*model.parameters(), *(look() or ())])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
    frames = of(recorded(tmp_path), Curvature)
    assert frames
    for frame in frames:
        twin, state = then[frame.step]
        double = tuple(tensor.double() for tensor in state or ())
        values = torch.linalg.eigvalsh(
            dense(twin.double(), lambda m, x, double=double: advanced(m, x, double)[0], x.double())  # type: ignore[misc]
        )
        ritz = frame.top[0]
        assert float((values - ritz.value).abs().min()) <= ritz.residual + 1e-5


class Collecting(nn.Module):
    """Auxiliary losses of a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.aux = nn.Linear(3, 3), [torch.zeros(())]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        self.aux.append(y.square().mean())
        return y


def test_a_list_that_is_begun_anew_at_every_step_is_the_loops(tmp_path: Path) -> None:
    """Also where a measurement is spread over steps, and the list was another one when it began."""
    torch.manual_seed(0)
    model, x = Collecting(), torch.randn(16, 3)
    beside: list[list[float]] = [[]]

    def loss_fn(model: Any, x: Tensor) -> Tensor:
        beside[0].append(0.0)
        y = model(x)
        loss: Tensor = F.cross_entropy(y, torch.arange(len(y)) % 3) + model.aux[-1]
        return loss

    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    lengths = []
    with Probe(model, optimizer, loss_fn, budget=1.0, reference=x, sensors=[CurvatureSensor()]) as probe:
        for _ in range(60):
            model.aux, beside[0] = [], []
            optimizer.zero_grad()
            loss = loss_fn(model, x)
            torch.autograd.backward(loss)
            optimizer.step()
            probe.step(loss, x)
            lengths.append((len(model.aux), len(beside[0])))
    assert lengths == [(1, 1)] * 60
    assert of(recorded(tmp_path), Curvature)
