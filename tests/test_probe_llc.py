"""The learning coefficient by sampling, against quadrature at the same temperature and the exact values of singular models."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lsmon.probe
from lsmon.probe.coefficient import LearningCoefficient, llc
from lsmon.protocol.errors import UsageError
from tests.landscape import same, traces
from tests.one_thread import one_thread  # noqa: F401 (autouse)


class Point(nn.Module):
    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(start)


def quadrature(power: int, heat: float, gamma: float = 1.0) -> float:
    """⟨w^p⟩/T in the density exp(-w^p/T - γw²/2), by summation."""
    w = torch.linspace(-4, 4, 200_001, dtype=torch.float64)
    weight = torch.exp(-(w**power) / heat - gamma * w**2 / 2)
    return float((weight * w**power).sum() / weight.sum() / heat)


@pytest.mark.parametrize("power", [2, 4])
def test_powers_against_quadrature_at_the_same_temperature(power: int) -> None:
    """w² and w⁴ in 64 independent directions, the second without any curvature at its minimum: within 15 %."""
    found = llc(
        Point(torch.zeros(64)), lambda m, _: (m.w**power).sum(), torch.zeros(9, 1), temperature=1e-2, steps=400
    )  # fmt: skip
    truth = 64 * quadrature(power, 1e-2)
    assert truth == pytest.approx(64 / power, rel=0.05)
    assert found.value == pytest.approx(truth, rel=0.15)
    assert abs(found.value - truth) <= 2 * found.se
    assert found.not_converged == ""
    assert found.temperature == 1e-2


def test_its_error_holds_the_truth() -> None:
    """At η λ_max = 0.4, where plain Langevin steps would be 25 % too hot: within two errors in 11 of 12 repetitions."""
    truth, inside = 32 * quadrature(2, 1e-2), 0
    for seed in range(12):
        found = llc(
            Point(torch.zeros(32)), lambda m, _: (m.w**2).sum(), torch.zeros(9, 1), temperature=1e-2, lr=0.2, steps=90, seed=seed,
        )  # fmt: skip
        inside += abs(found.value - truth) <= 2 * found.se
    assert inside >= 11


def reduced_rank(inputs: int, outputs: int, hidden: int, rank: int, seed: int = 0, count: int = 1000) -> LearningCoefficient:  # fmt: skip
    """y = BAx with true matrices of a lower rank than ``hidden`` (Aoyagi & Watanabe 2005), at the true parameters."""
    generator = torch.Generator().manual_seed(seed)
    one, two = nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, outputs, bias=False)
    with torch.no_grad():
        one.weight.zero_()
        two.weight.zero_()
        one.weight[:rank] = torch.randn(rank, inputs, generator=generator) / math.sqrt(inputs)
        two.weight[:, :rank] = torch.randn(outputs, rank, generator=generator) / math.sqrt(max(rank, 1))
    model = nn.Sequential(one, two)
    x = torch.randn(count, inputs, generator=generator)
    y = model(x).detach()
    return llc(model, lambda m, b: 0.5 * (m(b[0]) - b[1]).square().sum(1).mean(), (x, y), steps=500)


@pytest.mark.parametrize(("shape", "truth"), [((4, 4, 2, 1), 5.0), ((5, 3, 3, 1), 5.5), ((6, 4, 4, 0), 7.5)])
def test_reduced_rank_regressions(shape: tuple[int, int, int, int], truth: float) -> None:
    """Within 15 % of the exact coefficient, where half the parameters (8, 12, 20) and half the rank of the Hessian (3.5,
    3.5, 0) are off by 30 to 100 %."""
    found = reduced_rank(*shape)
    assert found.value == pytest.approx(truth, rel=0.15)
    assert found.gradients == 2000
    assert found.lr == pytest.approx(0.1 / found.sharpness)


def test_a_point_that_is_no_minimum_is_not_converged() -> None:
    """From the side of a valley the chains go down: a negative coefficient, and the reason in words."""
    found = llc(Point(torch.ones(8)), lambda m, _: (m.w**2).sum(), torch.zeros(9, 1), temperature=1e-2, steps=200)  # fmt: skip
    assert found.value < 0
    assert "lower loss than at these parameters" in found.not_converged


def test_too_few_steps_and_a_step_too_long_are_said() -> None:
    """Chains that have not mixed disagree or drift; a stiff step is said to be."""
    slow = llc(Point(torch.zeros(16)), lambda m, _: (m.w**2).sum(), torch.zeros(9, 1), temperature=1e-2, lr=1e-4, steps=100)  # fmt: skip
    assert "more steps are needed" in slow.not_converged
    stiff = llc(Point(torch.zeros(16)), lambda m, _: (m.w**2).sum(), torch.zeros(9, 1), temperature=1e-2, lr=0.2, steps=100)  # fmt: skip
    assert "η λ_max = 0.4, at which steps are too long" in stiff.not_converged
    wild = llc(Point(torch.zeros(4)), lambda m, _: (m.w**4).sum() + (m.w**2).sum(), torch.zeros(9, 1), temperature=1e-2, lr=9.0, steps=100)  # fmt: skip
    assert "not" in wild.not_converged or "left the region" in wild.not_converged


def test_the_model_is_left_as_it_was() -> None:
    """Parameters, buffers, modes and random streams to the last bit; T = ln n / n of the data; the same for the same seed."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 2)).train()
    batch = torch.randn(20, 4)

    def loss_fn(model: Any, batch: Tensor) -> Tensor:
        loss: Tensor = model(batch).square().mean()
        return loss

    before = traces(model)
    one = lsmon.probe.llc(model, loss_fn, batch, steps=40, chains=2)
    assert same(before, traces(model))
    assert one.temperature == pytest.approx(math.log(20) / 20)
    assert one == llc(model, loss_fn, batch, steps=40, chains=2)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 5}, {"chains": 1}, {"gamma": -1.0}, {"lr": 0.0}, {"temperature": -1.0}, {"examples": 2}],
)
def test_wrong_arguments_are_told(wrong: dict[str, Any]) -> None:
    """One plain sentence."""
    with pytest.raises(UsageError, match=r"\.$"):
        llc(Point(torch.zeros(2)), lambda m, _: m.w.square().sum(), torch.zeros(9, 1), **wrong)


def test_a_loss_that_says_nothing_is_told() -> None:
    """Not finite, or flat: there is nothing to sample around."""
    with pytest.raises(UsageError, match="not finite"):
        llc(Point(torch.zeros(2)), lambda m, _: m.w.sum() / 0, torch.zeros(9, 1))
    with pytest.raises(UsageError, match="lr= must be given"):
        llc(Point(torch.zeros(2)), lambda m, _: m.w.sum() * 0, torch.zeros(9, 1))
