"""The truth of the corpus is true: what it calls a saddle is one in closed form, and what is none it does not call so."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.corpus.arithmetic import addition
from tests.corpus.critical import saddle_before
from tests.corpus.recorder import cut
from tests.one_thread import one_thread  # noqa: F401 (autouse)

VALUES = torch.tensor([3.0, 1.5, 0.8], dtype=torch.float64)


def product(flat: Tensor, target: Tensor) -> Tensor:
    """½|UV - T|²: at its saddles some of the singular values of T are learned, the others not at all."""
    left, right = cut(flat, (3, 3), (3, 3))
    return 0.5 * (left @ right - target).square().sum()


@pytest.mark.parametrize("learned", [0, 1, 2])
def test_saddles_of_a_product_lie_where_theory_has_them(learned: int) -> None:
    """Height ½ Σ s² of what is not learned (Baldi and Hornik 1989), with a way down; from a tenth away."""
    target = torch.diag(VALUES)
    root = torch.zeros(3, dtype=torch.float64)
    root[:learned] = VALUES[:learned].sqrt()
    at = torch.cat([torch.diag(root).reshape(-1)] * 2)
    start = at + 0.05 * torch.randn(18, generator=torch.Generator().manual_seed(learned), dtype=torch.float64)
    saddle = saddle_before(product, target, start, after=0.0)
    assert saddle is not None
    assert saddle.height == pytest.approx(0.5 * float(VALUES[learned:].square().sum()), rel=1e-3)
    assert saddle.lowest < -0.05 and saddle.index >= 3 - learned


def test_a_minimum_and_a_slope_are_no_saddles() -> None:
    at_minimum = torch.cat([torch.diag(VALUES.sqrt()).reshape(-1)] * 2)
    assert saddle_before(product, torch.diag(VALUES), at_minimum + 0.01, after=-1.0) is None

    def slope(flat: Tensor, data: Any) -> Tensor:
        return flat.exp().sum()

    assert saddle_before(slope, torch.zeros(1), torch.zeros(3, dtype=torch.float64), after=0.0) is None


def test_what_memorises_modular_addition_leaves_the_saddle_where_all_answers_are_alike() -> None:
    """Cross-entropy ln p there, by the products alone as by the matrix."""
    for hidden in (8, 30):  # 120 and 450 parameters
        task = addition(0, p=5, hidden=hidden, share=1.0)
        saddle = saddle_before(task.loss, task.train, task.theta, after=0.1)
        assert saddle is not None
        assert saddle.height == pytest.approx(math.log(5), rel=1e-3)
        assert saddle.lowest < -0.01


@pytest.mark.parametrize("seed", [0, 1])
def test_kinks_of_a_relu_network_do_not_hide_its_saddle(seed: int) -> None:
    """A student of 2 relu(x₁) - relu(x₂) learns the first and rests: as high as the best network of one unit lies."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(200, 4, generator=draw, dtype=torch.float64)
    y = 2.0 * x[:, :1].relu() - 1.0 * x[:, 1:2].relu()

    def loss(flat: Tensor, data: Any) -> Tensor:
        units = len(flat) // 5
        inward, out = cut(flat, (units, 4), (1, units))
        return 0.5 * (torch.relu(x @ inward.T) @ out.T - y).square().mean()

    def slowest(theta: Tensor, steps: int, below: float) -> Tensor:
        """Of gradient descent, before |∇L| has risen again by a third, once the loss was this low."""
        least, found = math.inf, theta
        for _ in range(steps):
            theta = theta.detach().requires_grad_()
            value = loss(theta, ())
            (gradient,) = torch.autograd.grad(value, theta)
            if value.item() < below and gradient.norm() < least:
                least, found = float(gradient.norm()), theta.detach()
            elif gradient.norm() > 1.3 * least:
                break
            theta = theta - 0.05 * gradient
        return found

    one = slowest(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0], dtype=torch.float64), 800, math.inf)
    small = 0.01 * torch.randn(30, generator=draw, dtype=torch.float64)
    saddle = saddle_before(loss, (), slowest(small, 400, 0.5 * float(loss(small, ()))), after=0.0)
    assert saddle is not None and saddle.lowest < -5e-3
    assert saddle.height == pytest.approx(float(loss(one, ())), rel=0.01)


def test_a_saddle_far_above_or_below_the_run_is_not_the_one_it_left() -> None:
    start = 0.05 * torch.randn(18, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    height = 0.5 * float(VALUES.square().sum())
    assert saddle_before(product, torch.diag(VALUES), start, after=height + 0.1) is None
