"""Trainings in which something goes wrong, or that are interrupted: what a person should be told of."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from .arithmetic import Task, addition
from .classifiers import (
    SMALL,
    WIDE,
    Classified,
    Disturbance,
    Made,
    Plan,
    Schedule,
    constant,
    kicked,
    labelled,
    network,
    rescaled,
    trained,
)
from .escapes import from_spectrum
from .recorder import Recorded, size
from .run import Event, Run
from .truth import from_accuracies, from_validation


def overflowing(at: int) -> Disturbance:
    """Parameters without end from this step on."""

    def before(step: int, optimizer: torch.optim.Optimizer, theta: Tensor) -> None:
        if step == at:
            optimizer.param_groups[0]["lr"] = 1e9
        if step == at + 1:
            with torch.no_grad():
                theta *= math.inf

    return before


def growing(lr: float, at: int, rise: float) -> Schedule:
    """A learning rate that grows by this factor a step."""
    return lambda step: lr * min(rise ** max(0, step - at), 400.0)


def curriculum(number: int, lr: float, count: int) -> Run:
    """Two of four classes until step 1500, then all: the loss jumps, and comes down again."""
    task = network(510 + number, labelled(510 + number, count=count), WIDE)
    x, y = task.train
    easy = y < 2
    plan = Plan(
        4000,
        constant(lr),
        adam=lr < 0.01,
        data=lambda step: (x[easy], y[easy]) if step < 1500 else task.train,
    )
    found = trained(task, plan, number)
    events = [*from_spectrum(found), Event("loss_spike", 1500, 1500, 1600)]
    return Run(
        f"curriculum-{number}", "curriculum", "two of four classes until step 1500, then all", plan.steps, events,
        ["plateau_left", "overfitting"], False, [found.rows],
    )  # fmt: skip


def lost(number: int, p: int, share: float, at: int) -> Run:
    """Modular addition that grokked, and then gets wrong answers for half of its pairs."""
    return unlearned(f"lost-{number}", number, addition(570 + number, p=p, share=share), at)


def unlearned(name: str, seed: int, task: Task, at: int) -> Run:
    """A task that was grokked, and gets wrong answers for half of what it trains on from this step on."""
    x, y = task.train
    wrong = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))]
    mixed = torch.where(torch.rand(len(y), generator=torch.Generator().manual_seed(seed)) < 0.5, wrong, y)
    plan = Plan(
        at + 2000, constant(4e-3), adam=True, decay=1.0, batch=constant(len(y)), eval_every=10,
        data=lambda step: (x, y if step < at else mixed),
    )  # fmt: skip
    right_answers = task.train

    def evaluate(theta: Tensor, step: int) -> dict[str, float]:
        task.train = (x, y if step < at else mixed)
        values = Task.evaluate(task, theta, step)
        task.train = right_answers
        return values

    task.evaluate = evaluate  # type: ignore[method-assign]
    found = trained(task, plan, seed)
    early = Recorded([row for row in found.scalars if row[0] < at])
    events = [*from_spectrum(found), *from_accuracies(early), *from_validation(early)]
    events.append(Event("generalization_lost", at, at + 50, at + 600))
    return Run(
        name, name.rpartition("-")[0], f"grokked, then half of the answers made wrong at {at}", plan.steps, events,
        ["loss_spike", "curvature_spike", "overfitting", "divergence", "memorized"], False, [found.rows],
    )  # fmt: skip


def resumed(number: int, p: int, share: float, cut: int, back: int, steps: int) -> Run:
    """Modular addition that is stopped and resumed from some steps before, without its optimizer's state."""
    task = addition(580 + number, p=p, share=share)
    kept: list[Tensor] = []

    def keep(step: int, optimizer: torch.optim.Optimizer, theta: Tensor) -> None:
        if step == cut - back:
            kept.append(theta.detach().clone())

    def plan(length: int, before: Disturbance | None = None) -> Plan:
        return Plan(
            length, constant(4e-3), adam=True, decay=1.0, batch=constant(256), eval_every=10, before=before
        )

    first = trained(task, plan(cut, keep), number)
    task.theta = kept[0]
    second = trained(task, plan(steps - cut), number, cut - back)
    both = replace(
        second,
        scalars=[row for row in first.scalars if row[0] < cut - back] + second.scalars,
        curvature=first.curvature + second.curvature,
        points=first.points + second.points,
    )
    events = [*from_spectrum(both), *from_accuracies(both), *from_validation(both)]
    return Run(
        f"resumed-{number}", "resumed",
        f"a + b mod {p}, stopped at {cut}, resumed from {cut - back} without its optimizer's state",
        steps, events, [], False, [first.rows, second.rows],
    )  # fmt: skip


def classified() -> Iterator[Classified]:
    """Classification to which something happens."""
    kicks: list[tuple[tuple[int, ...], float]] = [((1200, 2500), 2.0), ((900,), 3.0), ((1600, 2600), 1.5)]
    for number, (steps, how) in enumerate(kicks):
        yield Classified(
            f"spike-{number}", f"parameters disturbed at {steps}, {how} times their spread", 450 + number,
            Plan(3500, constant(0.05), before=kicked(steps, how, number)), healthy=False,
            events=[Event("loss_spike", step, step, step + 60) for step in steps], allowed=["curvature_spike"],
        )  # fmt: skip
    for number, (count, wrong, lr) in enumerate(
        [(120, 0.2, 3e-3), (200, 0.3, 2e-3), (80, 0.1, 3e-3), (250, 0.15, 3e-3)]
    ):
        yield Classified(
            f"overfit-{number}", f"{count} examples, {wrong:.0%} of the labels random", 470 + number,
            Plan(3000, constant(lr), adam=True), count=count, wrong=wrong, sizes=(10, 64, 4), healthy=False,
        )  # fmt: skip
    for number, (lr, at, gain) in enumerate([(0.05, 800, 1.4), (0.1, 400, 1.4), (0.02, 1500, 2.0)]):
        yield Classified(
            f"nan-{number}", f"overflow at step {at}", 520 + number, Plan(at + 400, constant(lr), before=overflowing(at)),
            count=800, gain=gain, healthy=False, events=[Event("nonfinite", at, at + 1, at + 20)],
            allowed=["divergence", "loss_spike"],
        )  # fmt: skip
    for number, (lr, at, rise) in enumerate([(0.05, 1000, 1.004), (0.02, 1500, 1.006), (0.05, 600, 1.003)]):
        yield Classified(
            f"divergence-{number}", f"learning rate {lr} growing {rise - 1:.1%} a step from {at} on", 530 + number,
            Plan(at + 1800, growing(lr, at, rise), momentum=0.9, batch=constant(16)), count=800, healthy=False,
            events=[Event("divergence", at, at + 900, at + 1800)],
            allowed=["loss_spike", "curvature_spike", "plateau_left", "nonfinite", "overfitting"],
        )  # fmt: skip
    for number, (lr, gain, depth) in enumerate([(1e-6, 1.4, 2), (0.01, 0.25, 7), (3e-7, 1.4, 2)]):
        yield Classified(
            f"stall-{number}", f"learning rate {lr}, start {gain} in {depth} layers: nothing is learned", 540 + number,
            Plan(2000, constant(lr)), sizes=(10, *[16] * depth, 4), gain=gain, count=800, healthy=False,
            events=[Event("stall", 0, 300, 2000)],
        )  # fmt: skip
    for number, (at, factor) in enumerate([(1500, 5.0), (1000, 8.0), (2000, 4.0)]):
        yield Classified(
            f"sharpness-{number}", f"layers rescaled by {factor} at {at}: the same function, much sharper", 550 + number,
            Plan(3000, constant(2e-3), before=rescaled(at, factor, size((24, 10), (24,)))), sizes=SMALL,
            healthy=False, events=[Event("curvature_spike", at, at, at + 100)], allowed=["loss_spike"],
        )  # fmt: skip
    for number, (count, wrong, lr, length) in enumerate(
        [(300, 0.5, 2e-3, 4000), (400, 0.4, 2e-3, 4000), (200, 0.5, 1e-3, 5000)]
    ):
        yield Classified(
            f"noisy-labels-{number}", f"{wrong:.0%} of the labels random: learned first, then lost to the noise",
            560 + number, Plan(length, constant(lr), adam=True), count=count, wrong=wrong, sizes=(10, 128, 4), healthy=False,
            allowed=["generalization_lost"],
        )  # fmt: skip


def plans() -> Iterator[tuple[str, Made]]:
    """Name, and how to make the run."""
    for run in classified():
        yield run.name, run
    for number, (lr, count) in enumerate([(0.05, 1600), (2e-3, 1600), (0.1, 1200)]):
        yield f"curriculum-{number}", functools.partial(curriculum, number, lr, count)
    for number, (p, share, at) in enumerate([(29, 0.5, 1500), (23, 0.6, 1500), (31, 0.55, 1800)]):
        yield f"lost-{number}", functools.partial(lost, number, p, share, at)
    for number, (p, share, cut, back, steps) in enumerate(
        [(29, 0.5, 250, 50, 2500), (31, 0.5, 120, 40, 2500), (23, 0.6, 700, 100, 2500)]
    ):
        yield f"resumed-{number}", functools.partial(resumed, number, p, share, cut, back, steps)


def runs() -> Iterator[Made]:
    """One maker for each training."""
    for name, make in plans():
        call = functools.partial(make)
        call.__name__ = name  # type: ignore[attr-defined]
        yield call
