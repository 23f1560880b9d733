"""Temperature by consecutive differences, where the truth is known: Langevin dynamics on quadratics."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe import optimizers
from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.bias import bias_bound
from lsmon.probe.sensors.equilibrium import Equilibrium
from lsmon.probe.sensors.fluctuation import Fluctuation
from lsmon.probe.sensors.sampling import finite
from lsmon.probe.sensors.sensor import Context
from lsmon.probe.sensors.temperature import WINDOW, Temperature
from lsmon.probe.sensors.window import Window
from lsmon.protocol.frames import Scalars
from tests.one_thread import one_thread  # noqa: F401 (autouse)


class Noisy:
    """A quadratic ½ Σ h x² whose gradient carries Gaussian noise of variance ``noise`` in every direction."""

    def __init__(self, curvatures: Tensor, noise: float, seed: int = 0) -> None:
        self.model = nn.Module()
        self.position = nn.Parameter(torch.zeros(len(curvatures)))
        self.model.register_parameter("position", self.position)
        self.curvatures, self.noise = curvatures, noise
        self.generator = torch.Generator().manual_seed(seed)

    def backward(self) -> None:
        fresh = torch.randn(len(self.curvatures), generator=self.generator)
        self.position.grad = self.curvatures * self.position.detach() + math.sqrt(self.noise) * fresh


def watch(problem: Noisy, optimizer: Any, steps: int, burn_in: int = 300, **facts: Any) -> list[Scalars]:
    """Everything that the sensor says in a run, measuring at each step once the mode has relaxed."""
    found: list[Scalars] = []
    for _ in range(burn_in):
        problem.backward()
        optimizer.step()
    context = Context(problem.model, optimizer, **facts)
    instruments = Instruments([Temperature()], context, Budget(1.0), Guard(strict=True), found.append)
    for step in range(steps):
        problem.backward()
        optimizer.step()
        instruments.step(step, 1, None)
    instruments.close()
    return found


def average(found: list[Scalars]) -> tuple[float, float]:
    """Mean over non-overlapping windows, and the standard error that they claim for it."""
    apart = found[:: max(1, 8)][1:]
    values = [frame.values["temperature/noise"] for frame in apart]
    errors = [frame.errors["temperature/noise"] for frame in apart]
    return sum(values) / len(values), math.sqrt(sum(e * e for e in errors)) / len(errors)


@pytest.mark.parametrize("a", [0.02, 0.2, 1.0])
def test_langevin_dynamics_has_the_temperature_it_was_given(a: float) -> None:
    """SGLD at T = 3e-3 (gradient noise 2T/η) reads T times (2 + a)/(2 - a), the exact bias for a = ηh."""
    lr, truth = 0.1, 3e-3
    problem = Noisy(torch.full((200,), a / lr), 2 * truth / lr)
    found = watch(problem, torch.optim.SGD(problem.model.parameters(), lr), 1500)
    mean, _ = average(found)
    assert mean == pytest.approx(truth * (2 + a) / (2 - a), rel=0.03)
    frame = found[-1]
    assert frame.values["temperature/thermal_loss"] == pytest.approx(
        frame.values["temperature/noise"] * 200 / 2, rel=1e-6
    )


@pytest.mark.parametrize("a", [0.01, 0.5, 1.9])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_bias_of_consecutive_gradients_is_that_of_the_stationary_state(a: float, momentum: float) -> None:
    """Of x and its velocity v in a mode of curvature 1, by Lyapunov's equation: ½ ⟨(g' - g)²⟩ over the variance of g's noise,
    with g = x + ξ, v' = μv + g, x' = x - av'."""
    turn = torch.tensor([[1 - a, -a * momentum], [1.0, momentum]], dtype=torch.float64)
    kick = torch.tensor([-a, 1.0], dtype=torch.float64)
    equation = torch.eye(4, dtype=torch.float64) - torch.kron(turn, turn)
    state = torch.linalg.solve(equation, torch.outer(kick, kick).reshape(-1)).reshape(2, 2)
    truth = 1 + a + a**2 * float(state[1, 1]) / 2  # x' - x = -av', in which ξ has its part
    assert bias_bound(a, momentum) == pytest.approx(truth)


def test_beyond_the_edge_and_for_nesterov_no_bias_is_known() -> None:
    assert bias_bound(2.0) is None and bias_bound(3.8, 0.9) is None and bias_bound(3.79, 0.9) is not None
    assert bias_bound(0.1, 0.9, nesterov=True) is None


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_drawing_without_replacement_by_counting_all_orders(size: int) -> None:
    """Six examples in all their orders: parts of a batch of two and more, and neighbouring batches of which one pair in an
    epoch lies in two epochs, both give the variance of a batch's mean."""
    examples = torch.tensor([0.3, -1.0, 2.0, 0.1, 0.7, -0.2], dtype=torch.float64)
    orders = torch.tensor(list(itertools.permutations(range(6))))
    means = examples[orders].reshape(720, 6 // size, size).mean(-1)
    truth = float((means - examples.mean()).square().mean())
    facts: Any = SimpleNamespace(batch=torch.zeros(size, 1), examples=6)
    inner = means.diff(dim=1).square().mean(0).sum() / 2  # the noise of two epochs is independent
    assert finite(facts, 1, consecutive=True) * float(inner + truth) / (6 // size) == pytest.approx(truth)
    if size > 1:
        by_parts = float(examples[orders[:, :size]].var(1).mean()) / size
        assert finite(facts, 1, consecutive=False) * by_parts == pytest.approx(truth)
    facts.examples = None
    assert finite(facts, 1, consecutive=True) == finite(facts, 1, consecutive=False) == 1.0


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_heavy_ball_uses_its_effective_rate(momentum: float) -> None:
    """With momentum T = η/(1 - μ) trC / 2d, and the bias is the heavy-ball formula."""
    lr, noise, a = 0.01, 0.5, 0.05
    problem = Noisy(torch.full((200,), a / lr), noise)
    optimizer = torch.optim.SGD(problem.model.parameters(), lr, momentum=momentum)
    mean, _ = average(watch(problem, optimizer, 2500, burn_in=1000))
    bias = bias_bound(a, momentum)
    assert bias is not None
    assert mean == pytest.approx(lr / (1 - momentum) * noise / 2 * bias, rel=0.05)


def test_adam_measures_in_its_own_metric() -> None:
    """For AdamW P = 1/(√v̂ + ε): with pure noise of variance c, v̂ → c and T = η √c / 2."""
    lr, noise = 1e-3, 0.25
    problem = Noisy(torch.zeros(400), noise)
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr, weight_decay=0.0, betas=(0.9, 0.999))
    found = watch(problem, optimizer, 800, burn_in=3000)
    mean, _ = average(found)
    # E 1/√v̂ over the spread of v̂ (relative variance 2·(1-β2)/2 = 1e-3) is within a tenth of a percent of 1/√c
    assert mean == pytest.approx(lr * math.sqrt(noise) / 2, rel=0.02)
    assert "Adam metric" in found[-1].words["temperature/noise"]


def test_the_standard_error_covers() -> None:
    """In repeated runs the truth lies within two claimed standard errors in most windows (8 blocks: t, 7 degrees)."""
    lr, truth, inside, total = 0.1, 1e-2, 0, 0
    for seed in range(12):
        problem = Noisy(torch.full((20,), 0.1), 2 * truth / lr, seed)
        found = watch(problem, torch.optim.SGD(problem.model.parameters(), lr), 2 * WINDOW, burn_in=100)
        frame = found[-1]
        biased = truth * (2 + 0.01) / (2 - 0.01)
        inside += abs(frame.values["temperature/noise"] - biased) <= 2 * frame.errors["temperature/noise"]
        total += 1
    assert inside >= 0.75 * total


def test_nothing_before_twenty_estimates_and_the_words_say_how_many() -> None:
    """The first number averages 24 differences and says so, with method, metric and d."""
    problem = Noisy(torch.ones(10), 1.0)
    found = watch(problem, torch.optim.SGD(problem.model.parameters(), 0.1), 40, burn_in=0)
    assert found[0].step == 24  # the first of 25 gradients has no one to be compared with
    assert (
        found[0].words["temperature/noise"]
        == "consecutive differences, n=24, identity metric, d=10; upward bias not known"
    )


def test_the_bias_is_bounded_once_the_sharpness_is_known() -> None:
    """Its upper bound is in words, and near the edge the number is called unreliable."""
    problem = Noisy(torch.ones(10), 1.0)
    sgd = torch.optim.SGD(problem.model.parameters(), 0.1)
    words = watch(problem, sgd, 40, sharpness=5.0)[-1].words["temperature/noise"]
    assert "at most 67 % too high" in words
    assert "unreliable: ηλ_max=1.6" in watch(problem, sgd, 40, sharpness=16.0)[-1].words["temperature/noise"]
    assert "after clipping at 1" in watch(problem, sgd, 40, clip=1.0)[-1].words["temperature/noise"]


def test_a_window_does_not_span_a_change_of_the_learning_rate() -> None:
    """More than 10 % of change starts a new window; less does not."""
    problem = Noisy(torch.ones(10), 1.0)
    optimizer = torch.optim.SGD(problem.model.parameters(), 0.1)
    found: list[Scalars] = []
    context = Context(problem.model, optimizer)
    instruments = Instruments([Temperature()], context, Budget(1.0), Guard(strict=True), found.append)
    for step in range(150):
        if step == 60:
            optimizer.param_groups[0]["lr"] = 0.095
        if step == 100:
            optimizer.param_groups[0]["lr"] = 0.01
        problem.backward()
        optimizer.step()
        instruments.step(step, 1, None)
        if step == 10:
            assert context.notes["temperature"] == "10 of the first 24 estimates"
        if step == 110:
            assert "begins anew at each change of the learning rate" in context.notes["temperature"]
    counts = {
        frame.step: int(frame.words["temperature/noise"].split("n=")[1].split(",")[0]) for frame in found
    }
    assert max(count for step, count in counts.items() if 60 < step < 100) > 60
    after = [step for step in counts if step >= 100]
    assert after[0] == 124
    assert counts[124] == 24


def test_dead_entries_are_no_degrees_of_freedom() -> None:
    """d counts the entries that ever had a gradient, so that dead ones do not cool the reading."""
    problem = Noisy(torch.ones(10), 1.0)
    problem.model.register_parameter("dead", nn.Parameter(torch.zeros(90)))
    dead = problem.model.get_parameter("dead")
    dead.grad = torch.zeros(90)
    found = watch(problem, torch.optim.SGD(problem.model.parameters(), 0.1), 40)
    assert "d=10" in found[-1].words["temperature/noise"]


def test_an_unknown_optimizer_is_refused_in_words() -> None:
    """Its metric is not known, so there is no number; that is no fault, and nobody is alarmed."""
    problem = Noisy(torch.ones(10), 1.0)
    guard = Guard(strict=True)
    optimizer = torch.optim.RMSprop(problem.model.parameters(), 0.1)
    found: list[Scalars] = []
    context = Context(problem.model, optimizer)
    instruments = Instruments([Temperature()], context, Budget(1.0), guard, found.append)
    problem.backward()
    optimizer.step()
    instruments.step(1, 1, None)
    assert not found
    assert context.notes["temperature"] == "known for SGD, Adam and AdamW, not for RMSprop"


@pytest.mark.filterwarnings("error")
def test_complex_parameters_are_refused_in_words() -> None:
    """Adam has two second moments for each of their numbers, of which one was taken, with a warning of PyTorch's."""
    model = nn.Module()
    weight = nn.Parameter(torch.ones(4, dtype=torch.complex64))
    model.register_parameter("weight", weight)
    optimizer = torch.optim.Adam([weight], 0.1)
    context = Context(model, optimizer, lambda model, batch: model.weight.abs().square().sum())
    sensors = [Temperature(), Equilibrium(), Fluctuation()]
    instruments = Instruments(sensors, context, Budget(1.0), Guard(strict=True), lambda _: None)
    for step in range(3):
        optimizer.zero_grad()
        torch.autograd.backward(weight.abs().square().sum())
        optimizer.step()
        instruments.step(step, 1, torch.ones(4))
    for sensor in sensors:
        assert context.notes[sensor.name] == "not known for complex parameters"


def test_block_error_of_known_numbers() -> None:
    """Eight blocks of two: mean, and half of its 95 % interval by Student's t, by hand."""
    window = Window(16)
    for i in range(16):
        window.add(float(i // 2))
    mean = window.mean(0)
    assert mean.value == 3.5
    assert mean.se == pytest.approx(
        2.365 / 2 * math.sqrt(sum((i - 3.5) ** 2 for i in range(8)) / 7 / 8), rel=1e-3
    )


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({}, 2 / 0.1),
        ({"momentum": 0.9}, 2 * 1.9 / 0.1),
        ({"momentum": 0.9, "nesterov": True}, 2 * 1.9 / (2.8 * 0.1)),
        ({"momentum": 0.9, "dampening": 0.5}, 2 * 1.9 / 0.05),
    ],
)
def test_the_edge_is_where_a_quadratic_diverges(settings: dict[str, Any], limit: float) -> None:
    """1 % below the limit the optimizer converges on ½hx², 1 % above it diverges."""
    x = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([x], 0.1, **settings)
    edge = optimizers.edge(optimizer)
    assert edge is not None
    assert edge[0] == pytest.approx(limit)
    ends = []
    for factor in (0.99, 1.01):
        x = nn.Parameter(torch.ones(1, dtype=torch.float64))
        optimizer = torch.optim.SGD([x], 0.1, **settings)
        for _ in range(4000):
            x.grad = factor * limit * x.detach()
            optimizer.step()
        ends.append(abs(float(x.detach())))
    assert ends[0] < 1e-3
    assert ends[1] > 1e3


def test_no_single_edge_for_adam_or_several_rates() -> None:
    """Where one number does not tell, there is none."""
    x, y = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    assert optimizers.edge(torch.optim.AdamW([x])) is None
    assert optimizers.edge(torch.optim.SGD([{"params": [x], "lr": 0.1}, {"params": [y], "lr": 0.2}])) is None
