"""Norms and ratios against what the optimizer really did."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.readings import number
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.scale import Scale, norm
from lsmon.probe.sensors.sensor import Context
from tests.one_thread import one_thread  # noqa: F401 (autouse)


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().double().reshape(-1) for tensor in tensors])


def watch(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Instruments, list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []
    context = Context(model, optimizer)
    return Instruments([Scale(seconds=0.0)], context, Budget(1.0), Guard(strict=True), found.append), found


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_what_is_measured_is_what_happened(make: Any) -> None:
    """Gradient norm as consumed, weight norm after, |Δθ|/|θ|, lr per group; though the gradients are cleared since."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.02}]
    optimizer = make(groups)
    instruments, found = watch(model, optimizer)
    for step in range(1, 6):
        torch.autograd.backward(model(torch.randn(9, 5)).square().mean())
        gradients = flat([p.grad for p in model.parameters() if p.grad is not None])
        before = flat(list(model.parameters()))
        optimizer.step()
        optimizer.zero_grad()
        after = flat(list(model.parameters()))
        instruments.step(step, 1, None)
        values = {name: number(value) for name, value in found[-1].items()}
        assert values == {
            "grad/norm": pytest.approx(float(gradients.norm()), rel=1e-5),
            "weight/norm": pytest.approx(float(after.norm()), rel=1e-5),
            "update/ratio": pytest.approx(float((after - before).norm() / after.norm()), rel=1e-4),
            "lr": 0.1,
            "lr/1": 0.02,
        }
    instruments.close()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_the_clip_rate_is_the_share_of_clipped_steps() -> None:
    """Gradients of norm 0.5 and 2 in turns, clipped at 1: one half; without a threshold there is no rate."""
    weight = nn.Parameter(torch.ones(4))
    model = nn.Module()
    model.register_parameter("weight", weight)
    optimizer = torch.optim.SGD([weight], 0.0)
    for clip in (1.0, None):
        found: list[dict[str, Any]] = []
        context = Context(model, optimizer, clip=clip)
        instruments = Instruments([Scale(seconds=0.0)], context, Budget(1.0), Guard(strict=True), found.append)  # fmt: skip
        for step in range(40):
            weight.grad = torch.full((4,), 0.25 if step % 2 else 1.0)
            nn.utils.clip_grad_norm_([weight], 1.0)
            optimizer.step()
            instruments.step(step, 1, None)
        instruments.close()
        assert ("clip/rate" in found[-1]) == (clip is not None)
        assert clip is None or number(found[-1]["clip/rate"]) == pytest.approx(0.5)


@pytest.mark.parametrize("by_name", [False, True])
def test_a_closure_has_the_gradient_of_its_own_update(by_name: bool) -> None:
    """The loop's update computes it, so that before it there is none at all, or the last one's."""
    model = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    instruments, found = watch(model, optimizer)
    norms: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = model(torch.full((2, 3), float(len(norms)))).sum()
        torch.autograd.backward(loss)
        return loss

    for step in range(4):
        if by_name:
            optimizer.step(closure=closure)
        else:
            optimizer.step(closure)
        assert model.weight.grad is not None
        norms.append(float(model.weight.grad.norm()))
        instruments.step(step, 1, None)
    assert [number(values["grad/norm"]) for values in found] == pytest.approx(norms)


def test_the_drift_of_the_weight_norm() -> None:
    """Weights that shrink by 1 % a step: ln 0.99 a step, times a thousand."""
    weight = nn.Parameter(torch.ones(4))
    model = nn.Module()
    model.register_parameter("weight", weight)
    optimizer = torch.optim.SGD([weight], 0.01, weight_decay=1.0)
    instruments, found = watch(model, optimizer)
    for step in range(70):
        weight.grad = torch.zeros(4)
        optimizer.step()
        instruments.step(step, 1, None)
    drifts = [values["weight/drift"] for values in found if "weight/drift" in values]
    assert drifts == pytest.approx([1000 * math.log(0.99)] * 2, rel=1e-3)


def test_a_step_without_an_update_gives_no_norms() -> None:
    """Under gradient accumulation the loop calls more often than the optimizer moves."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    instruments, found = watch(model, optimizer)
    instruments.step(1, 1, None)
    assert found == [{"lr": 0.1}]


def test_all_zero_weights_and_half_precision() -> None:
    """No division by zero, and a bfloat16 norm is accumulated in float32."""
    assert float(norm([torch.full((4096,), 0.01, dtype=torch.bfloat16)])) == pytest.approx(
        0.01 * 64, rel=2e-3
    )
    assert float(norm([])) == 0.0
    sparse = torch.sparse_coo_tensor(
        torch.tensor([[0, 2]]), torch.tensor([3.0, 4.0]), (4,), check_invariants=True
    )
    assert float(norm([sparse])) == pytest.approx(5.0)


def test_an_array_of_one_element_is_a_number() -> None:
    """As a tensor of one is; of more it is none."""
    for value in (np.array([2.0]), np.array([[2]]), np.float32(2.0), np.array(2.0), torch.tensor([2.0])):
        assert number(value) == 2.0
    with pytest.raises(TypeError):
        number(np.array([1.0, 2.0]))


def test_what_is_masked_is_no_number() -> None:
    """The mean of nothing but masked entries is no 0, which numpy would make of it."""
    with pytest.raises(TypeError, match="masked"):
        number(np.ma.masked_array([1.0, 2.0], mask=True).mean())
    with pytest.raises(TypeError, match="masked"):
        number(np.ma.masked_array([1.0], mask=True))
    assert number(np.ma.masked_array([1.0, 3.0], mask=[False, True]).mean()) == 1.0
