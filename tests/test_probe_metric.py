"""The optimizer's own edge of stability: P^½HP^½ and its limit, against simulated divergence on quadratics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe import optimizers
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.operators.metric import metric
from lsmon.probe.operators.preconditioned import Preconditioned
from lsmon.probe.reference import Reference
from tests.landscape import apart, classes, cross_entropy, dense_hessian, matrix, perceptron
from tests.one_thread import one_thread  # noqa: F401 (autouse)

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


START = 1e-6
"""So small that Adam's second moments stay what they are while it grows."""

STEPS = 300
"""At 1.02 of its edge SGD, the slowest of all, gains 4 % a step."""


class Bowl(nn.Module):
    """½ Σ h x²: one mode of the given curvature and a flat one of a tenth of it, in two parameters."""

    def __init__(self, curvature: float) -> None:
        super().__init__()
        self.curvature = curvature
        self.x = nn.Parameter(torch.tensor([START], dtype=torch.float64))
        self.y = nn.Parameter(torch.tensor([START], dtype=torch.float64))

    def forward(self) -> Tensor:
        value: Tensor = 0.5 * self.curvature * (self.x**2 + 0.1 * self.y**2).sum()
        return value


def loss(model: nn.Module, batch: Any) -> Tensor:
    value: Tensor = model()
    return value


def prepare(optimizer: torch.optim.Optimizer) -> None:
    """Second moments far larger than what the simulation adds, so that P is frozen and differs by parameter."""
    for index, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": torch.tensor(1e9, dtype=torch.float64),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.full_like(parameter, 0.25 * (1 + index)),
            }


def grows(curvature: float, make: Make) -> bool:
    """Whether real steps of the optimizer, begun at 1e-6, ever reach 1e-4."""
    model = Bowl(curvature)
    optimizer = make([model.x, model.y])
    if optimizers.kind(optimizer) == "Adam":
        prepare(optimizer)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(model())
        optimizer.step()
        if max(abs(float(model.x.detach())), abs(float(model.y.detach()))) > 100 * START:
            return True
    return False


def ratio(curvature: float, make: Make) -> float:
    """λ_max/limit as lsmon computes it."""
    model = Bowl(curvature)
    optimizer = make([model.x, model.y])
    if optimizers.kind(optimizer) == "Adam":
        prepare(optimizer)
    hessian = Hessian(model, loss, Reference(torch.zeros(1, 1)))
    plain = optimizers.edge(optimizer)
    if plain is not None:
        return (float(torch.linalg.eigvalsh(matrix(hessian))[-1]) + plain[1]) / plain[0]
    found = metric(optimizer, model.parameters())
    assert found is not None
    operator = Preconditioned(hessian, found.root, found.decay)
    return float(torch.linalg.eigvalsh(matrix(operator))[-1]) / found.limit


CASES: dict[str, Make] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "SGD with weight decay": lambda p: torch.optim.SGD(p, 0.1, weight_decay=3.0),
    "heavy ball": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "heavy ball, dampened": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.5),
    "Nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "SGD, two learning rates": lambda p: torch.optim.SGD(
        [{"params": p[:1], "lr": 0.001}, {"params": p[1:], "lr": 0.1}], 0.1, momentum=0.8
    ),
    "Adam": lambda p: torch.optim.Adam(p, 0.01, betas=(0.9, 1 - 1e-9)),
    "Adam, β1 = 0.5": lambda p: torch.optim.Adam(p, 0.01, betas=(0.5, 1 - 1e-9)),
    "Adam with weight decay": lambda p: torch.optim.Adam(p, 0.01, betas=(0.9, 1 - 1e-9), weight_decay=500.0),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.01, betas=(0.9, 1 - 1e-9), weight_decay=0.1),
    "AdamW, strong decay": lambda p: torch.optim.AdamW(p, 0.01, betas=(0.9, 1 - 1e-9), weight_decay=30.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_ratio_is_one_where_the_optimizer_really_diverges(case: str) -> None:
    """Real steps shrink at the curvature where the ratio is 0.98 and grow where it is 1.02."""
    make = CASES[case]
    low, high = ratio(1.0, make), ratio(2.0, make)  # linear in the curvature; weight decay adds a constant
    below, above = (1.0 + (wanted - low) / (high - low) for wanted in (0.98, 1.02))
    assert ratio(above, make) == pytest.approx(1.02)
    assert not grows(below, make)
    assert grows(above, make)


def test_preconditioning_is_that_of_the_dense_matrix() -> None:
    """R(H + κI)R of a net with a real Adam state, to float32 rounding, and the metric is a copy."""
    model, batch = perceptron(), classes()
    groups: list[dict[str, Any]] = [
        {"params": list(model[0].parameters())},
        {"params": list(model[2].parameters()), "lr": 1e-3, "weight_decay": 0.2},
    ]
    optimizer = torch.optim.Adam(groups, 1e-2)
    assert metric(optimizer, model.parameters()) is None
    for _ in range(5):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(model, batch))
        optimizer.step()
    found = metric(optimizer, model.parameters())
    assert found is not None and isinstance(found.decay, Tensor)
    assert found.limit == pytest.approx(38 / 1e-2)
    roots = []
    for group, parameters in zip(groups, (model[0], model[2]), strict=True):
        for parameter in parameters.parameters():
            squares = optimizer.state[parameter]["exp_avg_sq"] / (1 - 0.999**5)
            roots.append(
                ((squares.sqrt() + 1e-8) ** -0.5 * (group.get("lr", 1e-2) / 1e-2) ** 0.5).reshape(-1)
            )
    root = torch.cat(roots).double()
    decay = torch.cat([torch.zeros(30), torch.full((21,), 0.2)]).double()
    truth = root[:, None] * (dense_hessian(model, cross_entropy, batch) + torch.diag(decay)) * root
    operator = Preconditioned(Hessian(model, cross_entropy, Reference(batch)), found.root, found.decay)
    before = operator.matvec(torch.ones(51))
    optimizer.step()
    assert apart(matrix(operator), truth) < 1e-5
    assert torch.equal(before, operator.matvec(torch.ones(51)))


def test_what_the_optimizer_does_not_move_has_no_edge() -> None:
    """Parameters outside the optimizer, or never given a gradient, have zero rows."""
    model = perceptron()
    optimizer = torch.optim.Adam(model[0].parameters(), 1e-2)
    torch.autograd.backward(cross_entropy(model, classes()))
    optimizer.step()
    found = metric(optimizer, model.parameters())
    assert found is not None
    assert bool((found.root[:30] > 0).all()) and torch.equal(found.root[30:], torch.zeros(21))


def test_of_two_optimizers_each_has_the_edge_of_what_it_moves() -> None:
    """Plain SGD on the first layer alone: 2/η is for the sharpness of that layer, not for that of the whole net."""
    model, batch = perceptron(), classes()
    optimizer = torch.optim.SGD(model[0].parameters(), 0.1, weight_decay=0.2)
    assert optimizers.edge(optimizer, model[0].parameters()) == (20.0, 0.2)
    assert optimizers.edge(optimizer, model.parameters()) is None
    found = metric(optimizer, model.parameters())
    assert found is not None and found.limit == 20.0 and "a part of the weights" in found.words
    operator = Preconditioned(Hessian(model, cross_entropy, Reference(batch)), found.root, found.decay)
    truth = dense_hessian(model, cross_entropy, batch)[:30, :30]
    eigenvalues = torch.linalg.eigvalsh(matrix(operator))
    assert float(eigenvalues[-1]) == pytest.approx(float(torch.linalg.eigvalsh(truth)[-1]) + 0.2, rel=1e-4)


def test_unknown_metrics_are_none() -> None:
    """Other optimizers, ascent, mixed momenta; and plain SGD, whose metric is the identity."""
    model = perceptron()
    groups: list[dict[str, Any]] = [
        {"params": list(model[0].parameters()), "momentum": 0.5},
        {"params": list(model[2].parameters())},
    ]
    for optimizer in (
        torch.optim.RMSprop(model.parameters(), 0.1),
        torch.optim.SGD(model.parameters(), 0.1),
        torch.optim.SGD(model.parameters(), 0.1, maximize=True),
        torch.optim.SGD(groups, 0.1),
    ):
        assert metric(optimizer, model.parameters()) is None
    with pytest.raises(ValueError, match="51 parameters"):
        Preconditioned(Hessian(model, cross_entropy, Reference(classes())), torch.ones(3))
