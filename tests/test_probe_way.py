"""The curvature on the way between two measurements, against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe.operators.difference import Difference
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.reference import Reference
from lsmon.probe.sensors.way import Way, bend
from tests.one_thread import one_thread  # noqa: F401 (autouse)

ROOM = 1 << 20


class Point(nn.Module):
    """A model that is nothing but where it is."""

    def __init__(self, at: list[float]) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(at))


def way(loss: object, start: list[float], end: list[float], operator: type[Hessian | Difference] = Hessian) -> tuple[float | None, float | None]:  # fmt: skip
    model, kept, batch = Point(start), Way(), Reference(torch.zeros(1))
    assert kept.come(operator(model, loss, batch), ROOM) is None  # type: ignore[arg-type]
    with torch.no_grad():
        model.x.copy_(torch.tensor(end))
    return bend(kept.come(operator(model, loss, batch), ROOM))  # type: ignore[arg-type]


@pytest.mark.parametrize("operator", [Hessian, Difference])
def test_on_a_quadratic_it_is_the_curvature_of_that_direction(operator: type[Hessian]) -> None:
    """uᵀAu / |u|² for A = diag(2, -1, 0.5), wherever the way begins."""

    def loss(model: Point, batch: Tensor) -> Tensor:
        return 0.5 * (torch.tensor([2.0, -1.0, 0.5]) * model.x.square()).sum()

    length, curvature = way(loss, [1.0, 0.2, -1.0], [1.3, 2.2, -1.0], operator)
    assert length == pytest.approx((0.09 + 4) ** 0.5, rel=1e-5)
    assert curvature == pytest.approx((2 * 0.09 - 4) / 4.09, rel=1e-3)


def test_on_a_quartic_it_is_the_mean_that_taylor_has() -> None:
    """From 0 to 1 on (x² - 1)²/4: 2 (L - L₀) = -½, though the curvature at the end is 2."""
    _, curvature = way(lambda model, batch: (model.x.square() - 1).square().sum() / 4, [0.0], [1.0])
    assert curvature == pytest.approx(-0.5, rel=1e-5)


def test_where_the_loss_is_convex_it_is_never_negative() -> None:
    draw = torch.Generator().manual_seed(0)

    def loss(model: Point, batch: Tensor) -> Tensor:
        return model.x.exp().sum() + model.x.square().sum().sqrt()

    for _ in range(20):
        start, end = (torch.randn(3, generator=draw).tolist() for _ in range(2))
        _, curvature = way(loss, start, end)
        assert curvature is not None and curvature > 0


def test_running_statistics_that_the_loss_does_not_use_may_move() -> None:
    """In training BatchNorm normalises by the batch."""
    model, batch = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1)), Reference(torch.randn(8, 2))

    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        outputs: Tensor = model(batch)
        return outputs.square().mean()

    kept = Way()
    kept.come(Hessian(model, loss, batch), ROOM)
    model(torch.randn(8, 2))
    with torch.no_grad():
        next(model[1].parameters()).add_(0.1)
    assert bend(kept.come(Hessian(model, loss, batch), ROOM))[1] is not None


def test_there_is_none_where_nothing_moved_or_running_statistics_did_or_there_is_no_room() -> None:
    assert way(lambda model, batch: model.x.square().sum(), [1.0], [1.0]) == (None, None)
    model, batch = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1)), Reference(torch.randn(8, 2))

    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        outputs: Tensor = model(batch)
        return outputs.square().mean()

    kept = Way()
    model(torch.randn(8, 2))
    model.eval()
    kept.come(Hessian(model, loss, batch), ROOM)
    model.train()(torch.randn(8, 2))
    model.eval()
    assert bend(kept.come(Hessian(model, loss, batch), ROOM)) == (None, None)
    assert kept.come(Hessian(model, loss, batch), 100) is None
