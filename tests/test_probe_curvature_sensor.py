"""The curvature sensor on a simulated clock: what comes when, what it costs, and what happens when things change."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lsmon.probe import instruments, schedule
from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.reference import Reference
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors import curvature, look, rungs, spectral_density
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.probe.sensors.sensor import Context
from lsmon.protocol.frames import Curvature, Layers, Scalars
from tests.clock import Clock
from tests.one_thread import one_thread  # noqa: F401 (autouse)

Batch = tuple[Tensor, Tensor]


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def make_batch(count: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 6, generator=generator)
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()


@dataclass
class Simulated:
    """A training whose step takes 50 ms on 32 examples, and whose products take 2.2 of its gradients."""

    clock: Clock
    monkeypatch: pytest.MonkeyPatch
    budget_share: float = 0.05
    reference: int = 512
    optimizer: str = "SGD"
    given: bool = False
    """As if the reference batch had been collected from the loop, and may be thinned."""
    slow: float = 1.0
    constant: float = 0.0
    """Seconds that a product takes whatever the examples."""
    step_secs: float = 0.05
    found: list[Any] = field(default_factory=list)
    longest: float = 0.0
    spent: list[tuple[float, float]] = field(default_factory=list)
    steps: int = 0

    def __post_init__(self) -> None:
        each = self.step_secs / 1.1 / 32 * self.slow  # seconds of one example's gradient
        build, product = Hessian.__init__, Hessian.matvec

        def built(hessian: Any, model: Any, loss: Any, reference: Any) -> None:
            self.clock.now += self.constant / 2.2 + each * sum(reference.sizes)
            build(hessian, model, loss, reference)

        def multiplied(hessian: Any, vector: Tensor) -> Tensor:
            self.clock.now += self.constant + 2.2 * each * sum(hessian.snapshot.sizes)
            return product(hessian, vector)

        self.monkeypatch.setattr(Hessian, "__init__", built)
        self.monkeypatch.setattr(Hessian, "matvec", multiplied)
        fake = SimpleNamespace(perf_counter=self.clock, monotonic=self.clock, process_time=self.clock)
        for module in (instruments, schedule, look, spectral_density):
            self.monkeypatch.setattr(module, "time", fake)
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        make = torch.optim.SGD if self.optimizer == "SGD" else torch.optim.Adam
        self.optim: torch.optim.Optimizer = make(self.model.parameters(), 0.01)
        self.budget = Budget(self.budget_share, clock=self.clock)
        self.sensor = CurvatureSensor()
        self.context = Context(self.model, self.optim, loss_fn, share=lambda: self.budget.share)
        self.context.reference = Reference(make_batch(self.reference))
        self.context.reference.given = self.given
        self.guard = Guard(strict=True)
        self.instruments = Instruments(
            [self.sensor], self.context, self.budget, self.guard, self.found.append
        )

    def train(self, steps: int, attempt: int = 1, first: int | None = None) -> None:
        if first is not None:
            self.steps = first
        for _ in range(steps):
            self.steps += 1
            self.clock.now += self.step_secs
            batch = make_batch(32, self.steps)
            if self.steps % 10 == 0:  # moving, but cheap to simulate
                torch.autograd.backward(loss_fn(self.model, batch))
                self.optim.step()
                self.optim.zero_grad()
            before = self.clock.now
            self.instruments.step(self.steps, attempt, batch)
            self.longest = max(self.longest, self.clock.now - before)
            self.spent.append((self.clock.now, self.budget.spent))

    def curvatures(self, complete: bool = False) -> list[Curvature]:
        return [
            frame for frame in self.found if isinstance(frame, Curvature) and (frame.bottom or not complete)
        ]

    def worst_minute(self) -> float:
        worst, start = 0.0, 0
        for now, spent in self.spent:
            while self.spent[start][0] < now - 60:
                start += 1
            if now - self.spent[0][0] >= 60:
                worst = max(worst, (spent - self.spent[start][1]) / (now - self.spent[start][0]))
        return worst


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


def gaps(frames: list[Curvature]) -> int:
    steps = sorted(frame.step for frame in frames)
    return max(b - a for a, b in pairwise(steps))


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_the_budget_is_kept_and_curvature_comes_often_enough(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """At 5 %: no minute above 6 %, the sharpness at least every 300 steps, everything at least every 1500, and no step
    more than three steps longer."""
    run = Simulated(clock, monkeypatch, optimizer=optimizer)
    run.train(5000)
    assert run.worst_minute() <= 0.06
    assert run.longest <= 3 * run.step_secs
    assert gaps(run.curvatures()) <= 300
    assert gaps(run.curvatures(complete=True)) <= 1500
    assert run.curvatures()[-1].batch < 512
    assert run.budget.share >= 0.02


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("constant", [0.035, 0.06])
def test_both_kinds_come_where_a_product_is_dear_whatever_the_examples(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, optimizer: str, constant: float
) -> None:
    """As in a small language model: both in time where a product takes a step, and both late by about as much where it
    takes so long that the budget pays for one of the two."""
    run = Simulated(clock, monkeypatch, optimizer=optimizer, slow=0.1, constant=constant)
    run.train(6000)
    assert run.worst_minute() <= 0.06
    assert run.longest <= 3 * run.step_secs
    late = gaps(run.curvatures()) / 300, gaps(run.curvatures(complete=True)) / 1500
    if constant < 0.05:
        assert max(late) <= 1.0
    else:
        assert 1.0 < max(late) < 1.5 * min(late)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_complete_measurement_tells_the_sharpness_first(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """Long before it is done, with the optimizer's edge where that limits it, and no other is begun meanwhile. A search for
    λ_1 alone takes the second of two for it in about two of a hundred networks as small as this, and here at most once."""
    run = Simulated(clock, monkeypatch, optimizer=optimizer, slow=0.1, constant=0.035)
    run.train(4000)
    frames, overlooked = run.curvatures(), 0
    for complete in run.curvatures(complete=True):
        first, last = (frame for frame in frames if frame.step == complete.step)
        assert last is complete and not first.bottom and first.hvps < complete.hvps / 2
        between = frames[frames.index(first) + 1 : frames.index(complete)]
        assert all(frame.step >= complete.step + 225 for frame in between)
        missed = complete.top[0].value - first.top[0].value
        overlooked += missed > first.top[0].residual
        assert missed >= -first.top[0].residual
        ratios = [
            frame.values["stability/ratio"]
            for frame in run.found
            if isinstance(frame, Scalars) and frame.step == complete.step
        ]
        assert len(ratios) == (2 if optimizer == "SGD" else 1)
    assert overlooked <= 1
    newest = max(frames, key=lambda frame: frame.step)
    assert run.context.sharpness == newest.top[0].value  # not that of the last complete one


def test_what_the_numbers_were_measured_on_is_said(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer examples than the reference batch has: how many, how far above all of them at most, and what halves say."""
    run = Simulated(clock, monkeypatch, budget_share=0.2)
    run.train(6000)
    last = run.curvatures()[-1]
    assert last.notes[0].startswith(f"{last.batch} of 512 examples: λ_max at most")
    assert all(frame.notes[0].startswith(f"{frame.batch} of 512 examples") for frame in run.curvatures())
    assert any(frame.undersampled is not None for frame in run.curvatures())
    assert last.method.startswith("Lanczos") and "exact" in last.method
    ratio = next(frame for frame in reversed(run.found) if isinstance(frame, Scalars))
    whole = Hessian(run.model, loss_fn, Reference(make_batch(512)))
    truth = float(
        torch.linalg.eigvalsh(torch.stack([whole.matvec(unit) for unit in torch.eye(whole.dim)]))[-1]
    )
    upper, error = ratio.values["stability/ratio"], ratio.errors["stability/ratio"]
    assert (
        upper - error <= truth / (2 / 0.01) <= 1.02 * upper
    )  # an interval that holds the whole reference batch's
    assert 0.02 * upper < error < upper
    complete = run.curvatures(complete=True)[-1]
    assert complete.memory > 0 and complete.grad_curvature is not None
    assert complete.displacement and complete.displacement_curvature is not None  # since the one before
    assert run.curvatures(complete=True)[0].displacement is None
    assert complete.batch == last.batch
    assert {frame.batch for frame in run.curvatures(complete=True)} == {last.batch}


def test_a_reference_that_was_given_is_used_whole(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names the examples wants the curvature on these; it is then measured more seldom, within the budget."""
    run = Simulated(clock, monkeypatch, budget_share=0.2, given=True)
    run.train(3000)
    assert {frame.batch for frame in run.curvatures()} == {512}
    assert run.budget.share <= 0.21


def test_a_model_too_large_for_a_basis_has_its_outermost_curvatures(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for two vectors: λ_max, λ_min and ĝᵀHĝ come, agree with the dense matrix, and say what is missing."""
    run = Simulated(clock, monkeypatch, budget_share=1.0, given=True)
    run.sensor.max_memory = 2 * 4 * sum(p.numel() for p in run.model.parameters())
    run.train(60)
    frame = run.curvatures(complete=True)[0]
    assert any("the outermost values alone" in note for note in frame.notes)
    assert frame.memory <= run.sensor.max_memory
    torch.manual_seed(0)
    fresh = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    point = Hessian(fresh, loss_fn, Reference(make_batch(512)))
    values = torch.linalg.eigvalsh(
        torch.stack([point.matvec(unit) for unit in torch.eye(point.dim)]).double()
    )
    assert frame.step < 10  # before the first step of the optimizer
    assert len(frame.top) == len(frame.bottom) == 1
    for ritz, truth in ((frame.top[0], float(values[-1])), (frame.bottom[0], float(values[0]))):
        assert abs(ritz.value - truth) <= ritz.residual < 0.12 * abs(truth)


def test_a_fresh_start_is_quick(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sharpness is that of the first steps, does not wait for the check of the method, and says so."""
    run = Simulated(clock, monkeypatch)
    run.context.notes["curvature"] = "448 of the 512 examples of the reference batch so far"
    while run.sensor.examples.part is None:
        run.train(1)
    assert run.context.notes["curvature"].startswith("the first measurement is under way")
    run.train(250)
    assert "curvature" not in run.context.notes
    first = run.curvatures()[0]
    assert first.step < 20
    assert "not yet checked" in " ".join(first.notes)


def test_an_event_brings_everything_forward(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an alert a complete measurement begins within a few steps, long before it would have been due."""
    run = Simulated(clock, monkeypatch, budget_share=0.3)
    run.train(1500)
    run.sensor.agenda.cadence.interval = 250
    run.sensor.agenda.cadence.began("complete", run.steps)
    run.train(60)
    asked = run.steps
    run.instruments.request("loss_spike")
    run.train(300)
    assert any(asked < frame.step <= asked + 30 for frame in run.curvatures(complete=True))
    run.instruments.request("probe_fault")
    assert not run.sensor.request("probe_fault")


def test_going_back_abandons_what_is_half_measured(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a resume at an earlier step nothing of the old trajectory is reported."""
    run = Simulated(clock, monkeypatch)
    run.train(400)
    assert run.sensor.agenda.work
    run.found.clear()
    run.train(600, attempt=2, first=100)
    assert run.curvatures()
    assert all(frame.step > 100 for frame in run.curvatures())
    assert max(frame.step for frame in run.curvatures()) < run.steps


@pytest.mark.parametrize("while_it_lasts", ["slower", "nothing"])
def test_the_best_way_is_tried_again_when_what_had_worked_has_failed(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, while_it_lasts: str
) -> None:
    """Memory that is gone for a while, or everything: what is less comes meanwhile, or the reason, and then the best."""
    monkeypatch.setattr(rungs, "AGAIN", 250)
    training = Simulated(clock, monkeypatch, budget_share=1.0)
    training.train(200)
    assert "double backward" in training.curvatures()[-1].method
    build = Hessian.__init__

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Hessian, "__init__", full)
    if while_it_lasts == "nothing":
        training.context.loss_fn = full
    training.train(400)  # tried again once, in vain
    meanwhile = training.curvatures()[-1]
    words = training.context.notes.get("curvature", "")
    if while_it_lasts == "nothing":
        assert meanwhile.step <= 201
        assert words.startswith("curvature cannot be measured here: not enough memory; tried again at step 9")
    else:
        assert meanwhile.step > 500 and "finite difference" in meanwhile.method and not words
        assert "no double backward: not enough memory" in meanwhile.notes
        assert meanwhile.notes[-1].startswith("what had worked is tried again at step 1 0")
    monkeypatch.setattr(Hessian, "__init__", build)
    training.context.loss_fn = loss_fn
    training.train(600)
    after = training.curvatures()[-1]
    assert after.step > 1100 and "double backward" in after.method
    assert not any("memory" in note for note in after.notes) and "curvature" not in training.context.notes


@pytest.mark.parametrize("after", [2, 4, 60, 61, 62])
def test_a_frozen_part_that_is_changed_costs_what_is_under_way(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """A larger one than what is trained is not copied. Loaded anew in the middle of the choice of a way, or of a
    measurement, it is no reason to give up double backward."""
    run = Simulated(clock, monkeypatch, budget_share=1.0, reference=64)
    run.model[0].requires_grad_(False)
    run.train(after)
    with torch.no_grad():
        next(run.model.parameters()).mul_(1.1)
    run.train(100)
    assert run.curvatures()[-1].step > after
    for frame in run.curvatures():
        assert "double backward" in frame.method and not any(
            "double backward" in note for note in frame.notes
        )
    assert "curvature" not in run.context.notes


class OnceDifferentiable(torch.autograd.Function):
    """Its backward pass gives a number where another graph would have to be: a term of the Hessian is dropped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return dy * (1 - torch.tanh(x) ** 2)


class Dropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return OnceDifferentiable.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def test_what_cannot_be_right_is_not_told_before_it_is_checked(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a tight budget the sharpness comes before the ways are compared; where its products are not symmetric it is
    kept back, and the comparison comes first."""
    run = Simulated(clock, monkeypatch)
    run.model[1] = Dropping()
    run.train(1500)
    assert run.curvatures()
    assert all("finite difference" in frame.method for frame in run.curvatures())


def thaw(run: Simulated) -> None:
    run.model[0].requires_grad_(True)


def replace(run: Simulated) -> None:
    run.model[2] = nn.Linear(8, 5)


def test_parts_that_are_trained_in_turn_are_measured_in_theirs(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``requires_grad`` is toggled at every step: one of the two is what is measured, complete too."""
    run = Simulated(clock, monkeypatch, budget_share=1.0, reference=64)
    for step in range(600):
        run.model[0].requires_grad_(step % 2 == 0)
        run.model[2].requires_grad_(step % 2 == 1)
        run.train(1)
    assert any(frame.bottom for frame in run.curvatures())
    assert len({frame.parameters for frame in run.curvatures()}) == 1


@pytest.mark.parametrize("change", [thaw, replace])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("budget_share", [0.2, 1.0])
def test_layers_that_are_thawed_or_replaced_make_another_space(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, change: Any, optimizer: str, budget_share: float
) -> None:
    """Vectors of the old one are of no use, and that is no failure: the values go on, exact, of the parameters of now."""
    run = Simulated(clock, monkeypatch, budget_share, reference=64, optimizer=optimizer)
    run.model[0].requires_grad_(False)
    run.train(400)
    change(run)
    run.train(600)
    after = [frame for frame in run.curvatures() if frame.step > 400]
    trained = [parameter for parameter in run.model.parameters() if parameter.requires_grad]
    assert any(frame.bottom for frame in after)
    for frame in after:
        assert frame.parameters == sum(parameter.numel() for parameter in trained)
        assert "double backward" in frame.method and not any(
            "double backward" in note for note in frame.notes
        )
    whole = Hessian(run.model, loss_fn, run.sensor.examples.part or Reference())
    values = torch.linalg.eigvalsh(torch.stack([whole.matvec(unit) for unit in torch.eye(whole.dim)]))
    assert after[-1].top[0].value == pytest.approx(float(values[-1]), rel=0.1)  # some steps before


def test_without_a_limit_everything_is_measured(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """budget=1: complete measurements one after the other, on all examples, with the density when asked for."""
    run = Simulated(clock, monkeypatch, budget_share=1.0, reference=64)
    run.sensor.density = True
    run.train(1200)
    assert {frame.batch for frame in run.curvatures()} == {64}
    assert len(run.curvatures(complete=True)) > 8
    densities = [frame for frame in run.curvatures() if frame.trace is not None]
    assert densities
    assert len({frame.delta for frame in densities}) == 1
    assert sum(densities[0].density_mass) == pytest.approx(1.0)
    layers = [frame for frame in run.found if isinstance(frame, Layers)]
    assert layers and layers[0].names == ("0", "2")
    whole = max(frame.top[0].value for frame in run.curvatures() if frame.top)
    assert all(0 < value <= 1.02 * whole for value in layers[0].values["hessian/max"])


@pytest.mark.parametrize("part", ["density", "layer_sharpness"])
def test_what_fails_beside_curvature_does_not_cost_its_way(
    part: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and curvature goes on as it was."""
    run = Simulated(clock, monkeypatch, budget_share=1.0, reference=64)
    run.sensor.density = True

    def work(error: str) -> Any:
        yield
        if error:
            raise ZeroDivisionError(error)
        return []

    for name in ("density", "layer_sharpness"):
        monkeypatch.setattr(curvature, name, lambda *_, error="of nothing" * (name == part): work(error))
    while "of nothing" not in run.context.notes.get("curvature", "") and run.steps < 200:
        run.train(1)
    assert run.context.notes["curvature"].startswith("no ")
    run.found.clear()
    while not run.curvatures(complete=True):
        run.train(1)
    assert all("exact" in frame.method and not frame.notes for frame in run.curvatures())


def test_adam_is_compared_with_its_own_edge(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sharpness in Adam's metric, and its ratio to 38/η."""
    run = Simulated(clock, monkeypatch, budget_share=0.3, optimizer="Adam")
    run.train(600)
    felt = run.curvatures(complete=True)[-1].preconditioned
    assert felt is not None
    (ratio,) = [
        frame
        for frame in run.found
        if isinstance(frame, Scalars) and frame.step == run.curvatures(complete=True)[-1].step
    ]
    assert ratio.values["hessian/edge"] == pytest.approx(38 / 0.01, rel=1e-3)
    assert ratio.values["stability/ratio"] == pytest.approx(felt.value / ratio.values["hessian/edge"])


def test_autocast_around_the_step_changes_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectors of Lanczos stay in single precision when the loop calls the probe inside autocast."""
    found = []
    for enabled in (False, True):
        run = Simulated(Clock(100.0), monkeypatch, budget_share=1.0, reference=64)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            for _ in range(90):
                run.steps += 1
                run.instruments.step(run.steps, 1, make_batch(32))
        found.append(run.curvatures()[0].top)
    assert found[0] == found[1]
