"""The equilibrium gauge on quadratics, where stationarity, descent and heating are exact."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe.algorithms.estimate import Estimate
from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.reference import Reference
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.balance import Noise, balance, direction, shape
from lsmon.probe.sensors.energy import Energy
from lsmon.probe.sensors.equilibrium import Equilibrium
from lsmon.probe.sensors.gauge_reading import read_gauge
from lsmon.probe.sensors.sensor import Context
from lsmon.probe.sensors.temperature import Temperature
from lsmon.probe.sensors.window import Window
from lsmon.protocol.frames import Scalars
from lsmon.protocol.gauge import label
from tests.one_thread import one_thread  # noqa: F401 (autouse)


class Bath:
    """½ Σ h x² plus noise·x, where the noise is the mean of what a batch's examples carry."""

    def __init__(self, curvatures: Tensor, noise: float, start: float = 0.0) -> None:
        self.model = nn.Module()
        self.position = nn.Parameter(torch.full((len(curvatures),), start))
        self.model.register_parameter("position", self.position)
        self.curvatures, self.noise = curvatures, noise
        self.generator = torch.Generator().manual_seed(0)

    def batch(self, size: int = 2) -> Tensor:
        return math.sqrt(self.noise * size) * torch.randn(
            size, len(self.curvatures), generator=self.generator
        )

    def loss(self, model: Any, batch: Tensor) -> Tensor:
        potential: Tensor = (0.5 * self.curvatures * model.position.square()).sum()
        tilt: Tensor = (batch @ model.position).mean()
        return potential + tilt

    def settle(self, optimizer: Any, steps: int) -> None:
        for _ in range(steps):
            with torch.no_grad():
                self.position.grad = self.curvatures * self.position + self.batch().mean(0)
            optimizer.step()


def watch(
    bath: Bath, optimizer: Any, steps: int, parts: int = 1, size: int = 2, **facts: Any
) -> list[Scalars]:
    found: list[Scalars] = []
    context = Context(bath.model, optimizer, bath.loss, **facts)
    instruments = Instruments([Temperature(), Equilibrium()], context, Budget(1.0), Guard(strict=True), found.append)  # fmt: skip
    optimizer.zero_grad()
    for step in range(steps):
        batch = bath.batch(size)
        for piece in batch.chunk(parts):
            torch.autograd.backward(bath.loss(bath.model, piece) / parts)
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, batch)
    instruments.close()
    return found


def last(found: list[Scalars], name: str) -> tuple[float, float, str]:
    frame = [frame for frame in found if name in frame.values][-1]
    return frame.values[name], frame.errors[name], frame.words[name]


@pytest.mark.parametrize(("parts", "settings"), [(1, {}), (2, {"momentum": 0.9}), (2, {"weight_decay": 3.0})])
def test_it_reads_one_at_stationarity(parts: int, settings: dict[str, Any]) -> None:
    """R = 1 within 0.3 and two errors for plain SGD at ηλ = 1, heavy ball, and coupled weight decay; from the halves of
    a batch or from micro-batches, with curvatures over a decade."""
    lr = 0.1
    bath = Bath(torch.logspace(-1, 0, 1000) / lr * (0.1 if "momentum" in settings else 1.0), 0.05)
    optimizer = torch.optim.SGD(bath.model.parameters(), lr, **settings)
    bath.settle(optimizer, 300)
    found = watch(bath, optimizer, 230, parts)
    value, error, words = last(found, "temperature/equilibrium")
    assert value == pytest.approx(1.0, abs=0.3)
    assert abs(value - 1.0) <= 2 * error
    assert words.startswith("equilibrium; ")
    truth = lr / (1 - settings.get("momentum", 0.0)) * 0.05 / 2
    heat, heat_error, heat_words = last(found, "temperature/noise")
    assert abs(heat - truth) <= 3 * heat_error
    assert heat == pytest.approx(truth, rel=0.03)
    assert ("two halves" if parts == 1 else "micro-batches, M=2") in heat_words


def test_adam_with_its_own_metric() -> None:
    """R = 1 for Adam at stationarity, though its steps are nothing like those of SGD."""
    bath = Bath(torch.logspace(0, 1, 1000), 0.05)
    optimizer = torch.optim.Adam(bath.model.parameters(), 0.02, betas=(0.9, 0.999))
    bath.settle(optimizer, 1500)
    value, error, words = last(watch(bath, optimizer, 230), "temperature/equilibrium")
    assert abs(value - 1.0) <= 2 * error + 0.1  # P is not quite frozen: O(1-β2) and O(ηh)
    assert error < 0.3
    assert "Adam metric" in words


def test_it_reads_descending_on_the_way_down() -> None:
    """Far from the minimum the drift wins by orders of magnitude."""
    bath = Bath(torch.full((1000,), 1e-2), 0.05, start=30.0)
    optimizer = torch.optim.SGD(bath.model.parameters(), 0.1)
    value, _, words = last(watch(bath, optimizer, 225), "temperature/equilibrium")
    assert value > 3
    assert words.startswith("descending; ")


def test_nothing_is_labelled_before_two_hundred_estimates() -> None:
    """R is not shown, and the note counts; the temperature by halves comes at 24 and replaces the other."""
    bath = Bath(torch.ones(50), 0.05)
    optimizer = torch.optim.SGD(bath.model.parameters(), 0.1)
    notes: dict[str, str] = {}
    found = watch(bath, optimizer, 120, notes=notes)
    assert not [frame for frame in found if "temperature/equilibrium" in frame.values]
    assert notes["equilibrium"].endswith("of the first 200 estimates")
    assert "two halves of the batch, n=96" in last(found, "temperature/noise")[2]


def test_after_a_tenfold_learning_rate_it_is_below_one() -> None:
    """In the first four steps after η → 10 η from equilibrium R is 0.1 and rises, as exact second moments say; 2 million
    directions stand for the 200 estimates that a network of that size would need at the least."""
    directions, lr, curvature, noise = 2_000_000, 0.025, 1.0, 0.05
    generator = torch.Generator().manual_seed(0)
    old = lr / 10
    spread = old * noise / (2 - old * curvature) / curvature  # ⟨x²⟩ of SGD at the old learning rate
    x = nn.Parameter(spread**0.5 * torch.randn(directions, generator=generator))
    optimizer = torch.optim.SGD([x], lr)
    sums, exact = torch.zeros(6, dtype=torch.float64), [0.0, 0.0]
    for _ in range(4):
        halves = (2 * noise) ** 0.5 * torch.randn(2, directions, generator=generator)
        with torch.no_grad():
            gradients = curvature * x + halves
        form = shape(optimizer, [x])
        assert form is not None and form.plain
        contrast = (gradients[0] - gradients[1]) / 2
        squares = contrast.square()
        seen = Noise(gradients.mean(0), contrast, form.rate @ squares, form.metric @ squares)
        along = direction(seen, form, torch.ones(()))
        sums += balance(seen, form, torch.ones(()), 1.0, along, curvature * along)
        exact[0] += 2 * curvature**2 * spread
        exact[1] += lr * curvature * (curvature**2 * spread + noise)
        spread = (1 - lr * curvature) ** 2 * spread + lr**2 * noise
        x.grad = gradients.mean(0)
        optimizer.step()
    ratio = float(sums[0] / sums[1])
    assert ratio == pytest.approx(exact[0] / exact[1], abs=0.15)
    assert ratio < 0.5


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("clipped", [1.0, 0.5])
@pytest.mark.parametrize("finite", [1.0, 0.75])
def test_descent_and_heating_are_those_of_a_quadratic(momentum: float, clipped: float, finite: float) -> None:
    """Of two updates with noises ±c, and one without: what they change U = ½θᵀHθ + ½κθ² by, exactly. Two groups with rates
    of their own, coupled decay in one of them, and a parameter that no optimizer moves."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=generator)
    hessian, kappa = root @ root.T, torch.tensor([0.3, 0.3, 0.0, 0.0, 0.0, 0.0])
    theta, noise = torch.randn(2, 6, generator=generator)
    moved, other, still = (nn.Parameter(piece.clone()) for piece in theta.split(2))
    groups = [{"params": [moved], "lr": 0.1, "weight_decay": 0.3}, {"params": [other], "lr": 0.02}]
    optimizer = torch.optim.SGD(groups, momentum=momentum)
    rate = torch.tensor([0.1, 0.1, 0.02, 0.02, 0.0, 0.0]) / (1 - momentum)
    form = shape(optimizer, [moved, other, still])
    assert form is not None and form.plain == (momentum == 0)
    torch.testing.assert_close(form.rate, rate)
    noise *= form.metric

    def potential(at: Tensor) -> float:
        return float(0.5 * at @ hessian @ at + 0.5 * kappa @ at.square())

    def change(of: Tensor) -> float:
        """By an update with this noise."""
        return potential(theta - clipped * rate * (hessian @ theta + kappa * theta + of)) - potential(theta)

    factor, trace = torch.tensor(clipped), form.rate @ noise.square() / finite
    both = []
    for sign in (1.0, -1.0):  # drawn without replacement, parts scatter by 1/finite more than their mean
        seen = Noise(
            hessian @ theta + sign * noise,
            noise / math.sqrt(finite),
            trace,
            form.metric @ noise.square() / finite,
        )
        along = direction(seen, form, factor)
        both.append(balance(seen, form, factor, finite, along, hessian @ along))
    descent, heating, heat, plain, gradient, _ = (torch.stack(both).mean(0)).tolist()
    slope = (hessian @ theta + kappa * theta).square() @ rate
    assert descent == pytest.approx(clipped * float(slope), rel=1e-4)
    changes = (change(noise) + change(-noise)) / 2
    truth = changes + descent if form.plain else changes - change(torch.zeros(6))
    assert heating == pytest.approx(truth, rel=1e-3)
    assert heat == pytest.approx(clipped * float(rate @ noise.square()), rel=1e-5)
    assert plain == pytest.approx(float(noise.square().sum()), rel=1e-5)
    assert gradient == pytest.approx(float((hessian @ theta)[:4].square().sum()), rel=1e-4)


def test_decoupled_decay_shrinks_and_is_no_part_of_the_potential() -> None:
    weight = nn.Parameter(torch.tensor([2.0, -1.0]))
    optimizer = torch.optim.AdamW([weight], 0.1, weight_decay=0.3)
    assert shape(optimizer, [weight]) is None  # no metric before the first update
    weight.grad = torch.tensor([0.5, 0.25])
    optimizer.step()
    form = shape(optimizer, [weight])
    assert form is not None and not form.plain
    torch.testing.assert_close(form.metric, 1 / torch.tensor([0.5, 0.25]), rtol=1e-5, atol=0.0)
    torch.testing.assert_close(form.rate, 0.1 * form.metric)
    torch.testing.assert_close(form.shrink, 0.1 * 0.3 * weight.detach())
    assert not form.kappa.any() and not form.decay.any()


def test_a_full_batch_has_no_gauge_and_a_batch_is_needed() -> None:
    """In words, not in numbers."""
    bath = Bath(torch.ones(10), 0.05)
    optimizer = torch.optim.SGD(bath.model.parameters(), 0.1)
    notes: dict[str, str] = {}
    watch(bath, optimizer, 5, notes=notes, examples=2)
    assert notes["equilibrium"] == "full batch: all 2 examples at every step: there is no noise to balance the descent"  # fmt: skip
    notes = {}
    found: list[Scalars] = []
    context = Context(bath.model, optimizer, bath.loss, notes=notes)
    instruments = Instruments([Equilibrium()], context, Budget(1.0), Guard(strict=True), found.append)
    torch.autograd.backward(bath.loss(bath.model, bath.batch()))
    optimizer.step()
    instruments.step(1, 1, None)
    assert notes["equilibrium"] == "pass the batch to step()"


def test_a_loss_function_that_is_not_the_loops_is_called_unreliable() -> None:
    """The halves' gradient is compared with the one that the optimizer consumed."""
    bath = Bath(torch.ones(50), 0.05, start=5.0)
    optimizer = torch.optim.SGD(bath.model.parameters(), 1e-4)
    found: list[Scalars] = []
    context = Context(bath.model, optimizer, lambda model, batch: bath.loss(model, batch) - model.position.sum() * 9)  # fmt: skip
    instruments = Instruments([Equilibrium()], context, Budget(1.0), Guard(strict=True), found.append)
    for step in range(40):
        batch = bath.batch()
        torch.autograd.backward(bath.loss(bath.model, batch))
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, batch)
    assert "unreliable: loss_fn gives another gradient" in last(found, "temperature/noise")[2]


@pytest.mark.parametrize("sizes", ["a sum", "one size"])
def test_of_a_loss_that_needs_its_batch_there_are_no_halves(sizes: str) -> None:
    """A state for each example, or a sum over them: it is said, and is neither a fault nor a temperature."""
    model = nn.Linear(3, 1)
    state = torch.zeros(16, 1)

    def loss(model: Any, batch: Tensor) -> Tensor:
        squares: Tensor = (model(batch) + (state if sizes == "one size" else 0)).square()
        return squares.mean() if sizes == "one size" else squares.sum()

    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    notes: dict[str, str] = {}
    found: list[Scalars] = []
    context = Context(model, optimizer, loss, reference=Reference(), notes=notes)
    instruments = Instruments([Equilibrium()], context, Budget(1.0), Guard(strict=True), found.append)
    generator = torch.Generator().manual_seed(0)
    for step in range(60):
        batch = torch.randn(16, 3, generator=generator)
        torch.autograd.backward(loss(model, batch))
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, batch)
    assert notes["equilibrium"].startswith("the batch cannot be cut into two halves: ")
    assert not found


@pytest.mark.parametrize("size", [3, 5])
def test_unequal_halves_of_an_odd_batch(size: int) -> None:
    """Weighted by their sizes they give the temperature of the whole batch and the loop's own gradient."""
    bath = Bath(torch.full((200,), 0.01), 0.05)
    optimizer = torch.optim.SGD(bath.model.parameters(), 0.01)
    value, error, words = last(watch(bath, optimizer, 70, size=size), "temperature/noise")
    truth = 0.01 * 0.05 / 2
    assert abs(value - truth) <= 3 * error
    assert value == pytest.approx(truth, rel=0.03)
    assert "unreliable" not in words


def test_halves_of_a_batch_drawn_without_replacement() -> None:
    """S²/B (1 - B/N) exactly, as by micro-batches; and when this sensor is switched off the other one speaks again."""
    data = torch.randn(32, 30, generator=torch.Generator().manual_seed(0))
    model = nn.Module()
    position = nn.Parameter(torch.zeros(30))
    model.register_parameter("position", position)
    optimizer = torch.optim.SGD([position], 0.1)

    def loss(model: Any, batch: Tensor) -> Tensor:
        value: Tensor = (batch @ model.position).mean()
        return value

    found: list[Scalars] = []
    context = Context(model, optimizer, loss, examples=32)
    instruments = Instruments([Equilibrium()], context, Budget(1.0), Guard(strict=True), found.append)
    generator = torch.Generator().manual_seed(1)
    for step in range(200):
        batch = data[torch.randperm(32, generator=generator)[:8]]
        torch.autograd.backward(loss(model, batch))
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, batch)
    truth = 0.1 * float(data.var(0).sum()) / 8 * (1 - 8 / 32) / (2 * 30)
    value, error, _ = last(found, "temperature/noise")
    assert abs(value - truth) <= 2 * error
    assert value == pytest.approx(truth, rel=0.1)
    assert context.by_halves
    instruments.close()
    assert not context.by_halves


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (50.0, 5.0, "descending"),
        (3.5, 0.3, "insufficient"),
        (1.0, 0.1, "equilibrium"),
        (1.0, 0.25, "equilibrium"),
        (1.0, 0.31, "insufficient"),
        (2.5, 0.05, "insufficient"),
        (0.3, 0.09, "heating"),
        (0.3, 0.11, "insufficient"),
        (1.0, math.nan, "insufficient"),
    ],
)
def test_a_label_only_when_the_interval_allows_one(value: float, error: float, said: str) -> None:
    assert label(value, error) == said


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_by_energy_and_by_gradients_it_is_the_same(decay: float) -> None:
    """Where the loss of the reference batch is known R is taken from the balance of energy, with the smaller error; both
    agree within theirs, with decoupled weight decay too, which takes from the loss what neither counts."""
    read: list[tuple[float, float, str]] = []
    for reference in (None, Reference(torch.zeros(2, 400))):
        bath = Bath(torch.logspace(0, 1, 400), 0.05)
        optimizer = torch.optim.AdamW(bath.model.parameters(), 0.02, weight_decay=decay)
        bath.settle(optimizer, 1500)
        read.append(last(watch(bath, optimizer, 230, reference=reference), "temperature/equilibrium"))
    (value, error, words), (better, its_error, by) = read
    assert "by |∇L|²" in words and "by energy" in by
    assert its_error < error
    assert abs(better - value) <= 2 * math.hypot(error, its_error)
    assert abs(better - 1) <= 2 * its_error if not decay else better < 1


def readings(count: int, scatter: float) -> Window:
    """Descent 1.2 ± ``scatter`` in every estimate, heating 1, a shrinking of 0.1, every third step."""
    window, draw = Window(4000), random.Random(0)
    for place in range(count):
        window.add(1.2 + draw.gauss(0, scatter), 1.0, 0.5, 0.5, 1.0, 0.1, 0.0, 3.0 * place)
    return window


@pytest.mark.parametrize(
    ("scatter", "estimates", "label", "way"),
    [
        (0.1, 200, "equilibrium", "by |∇L|²"),
        (8.0, 200, "equilibrium", "by energy"),
        (20.0, 1600, "insufficient", "by |∇L|²"),
    ],
)
def test_the_latest_stretch_that_allows_a_label_and_the_better_known_way(
    scatter: float, estimates: int, label: str, way: str
) -> None:
    """Where the loss falls by 0.2 a step, 0.1 of it by decay, R is 1 - (-0.2 + 0.1)/1; a stretch begins at its first step."""
    asked: list[float] = []

    def rate(since: int, memory: float) -> Estimate | None:
        asked.append(since)
        return Estimate(-0.2, 0.05) if way == "by energy" or scatter < 1 else None

    energy: Any = SimpleNamespace(rate=rate)
    gauge = read_gauge(readings(1600, scatter), energy, 2.0)
    assert gauge is not None and (gauge.label, gauge.way, gauge.estimates) == (label, way, estimates)
    assert asked == [3 * (1600 - 200 * 2**turn) for turn in range(len(asked))] and asked[-1] == 3 * (
        1600 - estimates
    )
    if way == "by energy":
        assert gauge.ratio.value == pytest.approx(1.1) and gauge.ratio.se == pytest.approx(0.05)
    few = read_gauge(readings(150, 0.1), energy, 2.0)
    assert few is not None and few.estimates == 150


def test_the_change_of_a_potential_has_an_honest_error() -> None:
    """A drifting random walk measured at uneven steps: within two errors in 95 of 100 repetitions, give or take four."""
    generator, inside = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        energy = Energy(400)
        walk = torch.randn(300, generator=generator).cumsum(0) + 0.05 * torch.arange(300)
        kept = torch.rand(300, generator=generator) < 0.5
        energy._levels.extend((step, float(walk[step])) for step in range(300) if kept[step])
        rate = energy.rate(50, memory=2.0)
        assert rate is not None
        inside += abs(rate.value - 0.05) <= 2 * rate.se
    assert 182 <= inside <= 198
    assert energy.rate(0, memory=100.0) is None


def test_half_precision_weights_are_measured_in_single() -> None:
    """Their batch is, too: it switched itself off, since the halves of one could not be multiplied with the other."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def loss_fn(model: nn.Module, batch: Tensor) -> Tensor:
        loss: Tensor = model(batch).square().mean()
        return loss

    context = Context(model, optimizer, loss_fn)
    instruments = Instruments([Equilibrium()], context, Budget(1.0), Guard(strict=True), lambda _: None)
    for step in range(40):
        batch = torch.randn(8, 3, dtype=torch.bfloat16)
        optimizer.zero_grad()
        torch.autograd.backward(loss_fn(model, batch))
        optimizer.step()
        instruments.step(step, 1, batch)
    assert "of the first" in context.notes["equilibrium"]
    assert not context.notes["equilibrium"].startswith("0 ")
