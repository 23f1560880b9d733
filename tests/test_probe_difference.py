"""Rungs without a second derivative: differences of gradients, and forward passes along the update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe.algorithms.lanczos import lanczos
from lsmon.probe.operators.along import Along
from lsmon.probe.operators.blocks import blocks
from lsmon.probe.operators.difference import Difference, calibrate
from lsmon.probe.operators.preconditioned import Preconditioned
from lsmon.probe.operators.update import update
from lsmon.probe.reference import Reference
from tests.landscape import (
    apart,
    classes,
    cross_entropy,
    dense_hessian,
    drain,
    matrix,
    perceptron,
    same,
    traces,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors and a shared machine: threads would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


class Quadratic(nn.Module):
    """½ θᵀAθ + bᵀθ."""

    def __init__(self, matrix: Tensor, slope: Tensor) -> None:
        super().__init__()
        self.matrix, self.slope = matrix, slope
        self.theta = nn.Parameter(torch.zeros(len(slope)))

    def forward(self) -> Tensor:
        value: Tensor = 0.5 * self.theta @ self.matrix @ self.theta + self.slope @ self.theta
        return value


def quadratic(seed: int, shift: float = 0.0) -> Quadratic:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(6, 6, generator=generator)
    model = Quadratic(root @ root.T / 6 + shift * torch.eye(6), torch.randn(6, generator=generator))
    with torch.no_grad():
        model.theta.copy_(torch.randn(6, generator=generator))
    return model


def value(model: nn.Module, batch: Any) -> Tensor:
    loss: Tensor = model()
    return loss


def anything() -> Reference:
    return Reference(torch.zeros(1, 1))


def unit(size: int, seed: int = 0) -> Tensor:
    vector = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    length: Tensor = vector.norm()
    return vector / length


@pytest.mark.parametrize(("precision", "bound"), [(None, 1e-3), (torch.float64, 1e-6)])
def test_a_calibrated_difference_is_the_hessian_within_its_error(
    precision: torch.dtype | None, bound: float
) -> None:
    """The matrix of a smooth net is right to the error that calibration states, times three: it is an estimate."""
    model, batch = perceptron(), classes()
    truth = dense_hessian(model, cross_entropy, batch)
    first = Difference(model, cross_entropy, Reference(batch), precision=precision)
    found = drain(calibrate(first, unit(first.dim)))
    operator = Difference(model, cross_entropy, Reference(batch), step=found.step, precision=precision)
    assert found.error < bound
    assert apart(matrix(operator), truth) < 3 * max(found.error, 1e-7)
    assert float(operator.error) < bound


@pytest.mark.parametrize("step", [1e-4, 1e-3, 1e-2, 3e-2, 1e-1])
@pytest.mark.parametrize("felt", [False, True])
def test_what_a_step_is_too_long_by_is_in_the_residuals(step: float, felt: bool) -> None:
    """A step that was right when it was calibrated is too long later in the training: each value is within its residual
    of the true one all the same, and no residual is more than some times too wide."""
    model, batch = perceptron(), classes()
    truth = dense_hessian(model, cross_entropy, batch)
    point: Any = Difference(model, cross_entropy, Reference(batch), step=step)
    if felt:
        root = torch.linspace(0.5, 2.0, point.dim)
        point, truth = Preconditioned(point, root), root.double()[:, None] * truth * root.double()
    extremes = drain(lanczos(point, max_products=40)).extremes
    values = torch.linalg.eigvalsh(truth)
    off = {ritz: float((values - ritz.value).abs().min()) for ritz in (*extremes.top, *extremes.bottom)}
    assert all(wrong <= ritz.residual for ritz, wrong in off.items())
    widest = max(ritz.residual for ritz in off if ritz.converged)
    assert widest <= 20 * max(off.values()) + 2e-2 * float(values[-1])


def test_a_check_stops_at_two_steps_that_agree() -> None:
    """Half of the gradients then; where they do not agree well enough all steps are tried."""
    model, batch = perceptron(), classes()
    truth = dense_hessian(model, cross_entropy, batch)
    operator = Difference(model, cross_entropy, Reference(batch), precision=torch.float64)
    direction = unit(operator.dim)
    asked: list[float] = []
    product = operator.product

    def counted(vector: Tensor, step: float) -> Tensor:
        asked.append(step)
        return product(vector, step)

    operator.product = counted  # type: ignore[method-assign]
    found = drain(calibrate(operator, direction, 1e-4))
    assert len(asked) == 2 and found.step == min(asked) and found.error < 1e-4
    assert apart(found.product, truth @ direction.double()) < 3 * max(found.error, 1e-7)
    asked.clear()
    drain(calibrate(operator, direction, 1e-15))
    assert len(asked) == 4


def test_steps_that_agree_by_chance_do_not_make_the_error_vanish() -> None:
    """In one dimension float32 products of two steps are often equal to the last digit, and wrong by up to a tenth."""
    for seed in range(40):
        torch.manual_seed(seed)
        model, (inputs, targets) = nn.Linear(1, 1, bias=False), (torch.randn(16, 1), torch.randn(16, 1))

        def squares(model: nn.Module, batch: Any) -> Tensor:
            loss: Tensor = (model(batch[0]) - batch[1]).square().mean()
            return loss

        operator = Difference(model, squares, Reference((inputs, targets)))
        found = drain(calibrate(operator, torch.ones(1)))
        truth = 2 * inputs.double().square().mean()
        assert float((found.product - truth).abs() / truth) < 1e-5 + 3 * found.error


def test_relu_and_max_pooling_need_double_precision() -> None:
    """Their gradient jumps: in float32 no step is good and the error says so, in float64 it is short enough."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip
    batch = torch.randn(128, 1, 8, 8), torch.randint(0, 3, (128,))
    truth = dense_hessian(model, cross_entropy, batch)
    single = Difference(model, cross_entropy, Reference(batch))
    double = Difference(model, cross_entropy, Reference(batch), precision=torch.float64)
    direction = unit(single.dim)
    exact = truth @ direction.double()
    coarse, fine = drain(calibrate(single, direction)), drain(calibrate(double, direction))
    assert fine.error < 1e-6 and apart(fine.product, exact) < 1e-6
    assert coarse.error > 1e-3 and 1e-4 < apart(coarse.product, exact) < 3 * coarse.error


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_step_goes_with_the_size_of_the_parameters_and_not_with_that_of_the_vector(scale: float) -> None:
    """H(cv) = c·Hv, also with all parameters a thousand times larger or smaller (in a loss that undoes it)."""
    model, (inputs, labels) = perceptron(), classes()
    plain = Difference(model, cross_entropy, Reference((inputs, labels)))
    vector = unit(plain.dim)
    product = plain.product(vector, 1e-3)
    assert apart(plain.product(1e4 * vector, 1e-3), 1e4 * product.double()) < 1e-3

    def undone(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        w, b, w2, b2 = (parameter / scale for parameter in model.parameters())
        hidden = torch.tanh(nn.functional.linear(batch[0], w, b))
        return nn.functional.cross_entropy(nn.functional.linear(hidden, w2, b2), batch[1])

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    scaled = Difference(model, undone, Reference((inputs, labels)))
    assert apart(scaled.product(vector, 1e-3) * scale**2, product.double()) < 1e-2


def test_zero_vectors_and_zero_parameters() -> None:
    """H·0 = 0 without a 0/0, and a model that starts at zero has a step."""
    model = nn.Linear(4, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    operator = Difference(model, cross_entropy, Reference(classes()), step=1e-2)
    assert torch.equal(operator.product(torch.zeros(operator.dim), 1e-2), torch.zeros(operator.dim))
    truth = dense_hessian(model, cross_entropy, classes())
    assert apart(matrix(operator), truth) < 1e-3


def test_differences_are_taken_at_the_snapshot_and_leave_the_model_alone() -> None:
    """The live parameters move on, products stay the same to the last bit; nothing else changes, also on an error."""
    model = nn.Sequential(perceptron(), nn.BatchNorm1d(3), nn.Dropout(0.5))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = traces(model)
    operator = Difference(model, cross_entropy, Reference(classes()))
    product = operator.product(operator.gradient, 1e-3)
    assert same(before, traces(model))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    assert torch.equal(product, operator.product(operator.gradient, 1e-3))
    before = traces(model)

    def broken(model: nn.Module, batch: Any) -> Tensor:
        model(batch[0])
        torch.rand(3)
        raise RuntimeError("broken on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        Difference(model, broken, Reference(classes()))
    with pytest.raises(RuntimeError, match="on purpose"):
        Along(model, broken, Reference(classes())).loss()
    assert same(before, traces(model))


def test_blocks_of_a_difference() -> None:
    """A layer's block without a graph, by moving only that layer."""
    model, batch = perceptron(), classes()
    truth = dense_hessian(model, cross_entropy, batch)
    layer = blocks(Difference(model, cross_entropy, Reference(batch), step=1e-3))["2"]
    assert apart(matrix(layer), truth[30:, 30:]) < 1e-3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("factor", [0.3, 1.0, 20.0])
def test_critical_sharpness_of_a_quadratic_is_its_closed_form(seed: int, factor: float) -> None:
    """η_c = 2gᵀu/uᵀHu, so λ_c = uᵀHu/gᵀu, for a step that is no gradient, within 1 %, whatever the first guess."""
    model = quadratic(seed)
    along = Along(model, value, anything())
    gradient = (model.matrix @ model.theta + model.slope).detach()
    direction = gradient * torch.linspace(0.5, 2.0, 6)
    truth = float(direction @ model.matrix @ direction / (gradient @ direction))
    critical = drain(along.critical(direction, factor * 2 / truth))
    assert critical.value == pytest.approx(truth, rel=0.01)
    assert critical.low <= truth * 1.001 and critical.high >= truth * 0.999
    assert critical.passes <= (6 if factor < 10 else 9)
    assert critical.step == pytest.approx(2 / truth, rel=0.01)


def test_critical_sharpness_along_the_gradient_is_the_curvature_along_it() -> None:
    """For gradient descent λ_c = ĝᵀHĝ on a quadratic."""
    model = quadratic(1)
    gradient = (model.matrix @ model.theta + model.slope).detach()
    truth = float(gradient @ model.matrix @ gradient / (gradient @ gradient))
    critical = drain(Along(model, value, anything()).critical(gradient, 0.1))
    assert critical.value == pytest.approx(truth, rel=0.01)


def test_no_critical_sharpness_is_said_in_words() -> None:
    """An ascent direction never lowers the loss; in a concave or linear one it never rises."""
    model = quadratic(2)
    along = Along(model, value, anything())
    gradient = (model.matrix @ model.theta + model.slope).detach()
    upwards = drain(along.critical(-gradient, 0.1))
    assert upwards.value is None and "does not fall" in upwards.words
    linear = Quadratic(torch.zeros(6, 6), torch.ones(6))
    forever = drain(Along(linear, value, anything()).critical(torch.ones(6), 0.1))
    assert forever.value is None and "still falls" in forever.words and forever.high < 1e-3
    with pytest.raises(ValueError, match="must be positive"):
        drain(along.critical(gradient, 0.0))


def test_critical_sharpness_sees_the_snapshot() -> None:
    """The model may move on between two forward passes."""
    model = quadratic(3)
    gradient = (model.matrix @ model.theta + model.slope).detach()
    still = drain(Along(model, value, anything()).critical(gradient, 0.1))
    work = Along(model, value, anything()).critical(gradient, 0.1)
    while True:
        try:
            next(work)
        except StopIteration as done:
            assert done.value == still
            break
        with torch.no_grad():
            model.theta.add_(0.3)


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: torch.optim.SGD(parameters, 0.1),
        lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=0.1),
        lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True),
        lambda parameters: torch.optim.Adam(parameters, 0.1, weight_decay=0.1),
        lambda parameters: torch.optim.AdamW(parameters, 0.1, weight_decay=0.1),
        lambda parameters: torch.optim.AdamW(parameters, 0.1, amsgrad=True),
    ],
)
def test_the_update_direction_is_what_the_optimizer_did(make: Any) -> None:
    """θ before − θ after = η·u, from the optimizer's state alone, to 1 % (decay acts on θ before the step)."""
    model, batch = perceptron(), classes()
    groups = [{"params": list(model[0].parameters())}, {"params": list(model[2].parameters()), "lr": 0.02}]
    optimizer = make(groups)
    for _ in range(3):
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(model, batch))
        start = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
        optimizer.step()
    moved = start - torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    found = update(optimizer, model.parameters())
    assert found is not None
    direction, rate = found
    assert rate == 0.1
    assert apart(rate * direction, moved.double()) < 0.02


def test_an_unknown_update_is_none() -> None:
    """Before the first step, once plain SGD's gradients are gone, and for an unknown optimizer."""
    model = perceptron()
    assert update(torch.optim.SGD(model.parameters(), 0.1), model.parameters()) is None
    assert update(torch.optim.Adam(model.parameters(), 0.1), model.parameters()) is None
    assert update(torch.optim.RMSprop(model.parameters(), 0.1), model.parameters()) is None
