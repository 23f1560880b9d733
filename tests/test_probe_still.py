"""Losses that train something on the way: the optimizers of the loop take no step in a measurement."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsmon.probe import Probe, measure
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.protocol.errors import UsageError
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.test_probe_oath import own_folders

__all__ = ["own_folders"]  # a fixture, used by name

WORDS = "loss_fn steps an optimizer"
LossFn = Callable[[Any, Tensor], Tensor]
Made = tuple[nn.Module, LossFn, list[nn.Module]]


def network(out: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, out))


def plain(model: Any, batch: Tensor) -> Tensor:
    loss: Tensor = model(batch).square().mean()
    return loss


def whole_step() -> Made:
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)

    def loss_fn(model: Any, batch: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=False)
        loss = plain(model, batch)
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()

    return model, loss_fn, []


def critic(clears: bool) -> Made:
    model, judge = network(), nn.Linear(3, 1)
    optimizer = torch.optim.SGD(judge.parameters(), 0.1, momentum=0.9)

    def loss_fn(model: Any, batch: Tensor) -> Tensor:
        made = model(batch)
        if clears:
            optimizer.zero_grad(set_to_none=False)
        torch.autograd.backward(F.softplus(judge(made.detach())).mean())
        optimizer.step()
        return F.softplus(-judge(made)).mean()

    return model, loss_fn, [judge]


MADE: dict[str, Callable[[], Made]] = {
    "a training step": whole_step,
    "a critic that is trained inside": lambda: critic(True),
    "a critic whose gradients add up": lambda: critic(False),
}


@pytest.mark.parametrize("name", MADE)
def test_training_is_the_same_though_its_loss_steps_an_optimizer(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no curvature, and it is said why."""
    monkeypatch.delenv("LSMON_STRICT", raising=False)

    def train(probed: bool) -> list[Tensor]:
        torch.manual_seed(0)
        model, loss_fn, beside = MADE[name]()
        optimizer, batch = torch.optim.SGD(model.parameters(), 0.1), torch.randn(16, 4)
        sensors = [CurvatureSensor()]
        probe = Probe(model, optimizer, loss_fn, budget=1.0, reference=batch, sensors=sensors)
        for _ in range(30):
            loss = loss_fn(model, batch)
            if loss.requires_grad:
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
            if probed:
                probe.step(loss, batch)
        probe.close()
        moved = nn.ModuleList([model, *beside])
        return [t for p in moved.parameters() for t in (p.detach(), p.grad) if t is not None]

    assert all(map(torch.equal, train(False), train(True)))
    assert WORDS in capsys.readouterr().err


def test_gradients_are_the_very_tensors_again() -> None:
    model, loss_fn, _ = whole_step()
    batch = torch.randn(16, 4)
    torch.autograd.backward(plain(model, batch))
    before = [(parameter.grad, copy.deepcopy(parameter.grad)) for parameter in model.parameters()]
    with pytest.raises(UsageError, match=WORDS):
        measure(model, loss_fn, batch)
    for parameter, (was, value) in zip(model.parameters(), before, strict=True):
        assert parameter.grad is was is not None
        assert value is not None and torch.equal(was, value)


def test_an_inner_loop_on_copies_may_step(tmp_path: Path) -> None:
    """As of Reptile (Nichol et al. 2018); the copies are of what is measured."""

    def loss_fn(model: Any, batch: Tensor) -> Tensor:
        twin = copy.deepcopy(model)
        inner = torch.optim.SGD(twin.parameters(), 0.1)
        torch.autograd.backward(plain(twin, batch))
        inner.step()
        pulls = [(p - q.detach()).square().sum() for p, q in zip(model.parameters(), twin.parameters(), strict=True)]  # fmt: skip
        return torch.stack(pulls).sum()

    found = measure(network(), loss_fn, torch.randn(16, 4), probes=0)
    assert found.top[0].value > 0
