"""Healthy trainings that fool a naive detector: schedules, warm-up, noise, convex plateaus, batch sizes, the edge."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .arithmetic import Data
from .classifiers import SMALL, Classified, Made, Plan, Schedule, constant, cosine, stairs
from .recorder import Training
from .run import Run


def convex(name: str, seed: int, plan: Plan, noise: float) -> Run:
    """Least squares with curvatures over four decades: a convex valley, whatever it looks like."""
    generator = torch.Generator().manual_seed(seed)
    n = 12
    scales = torch.logspace(0, -2, n, dtype=torch.float64)
    x = torch.randn(512, n, generator=generator, dtype=torch.float64) * scales
    y = x @ (2 / scales.sqrt()) + noise * torch.randn(512, generator=generator, dtype=torch.float64)

    def loss(flat: Tensor, part: Any) -> Tensor:
        gap: Tensor = part[0] @ flat - part[1]
        return 0.5 * gap.square().mean()

    def drawn(step: int) -> Data:
        rows = torch.randint(512, (int(plan.batch(step)),), generator=generator)
        return x[rows], y[rows]

    found = Training(
        torch.zeros(n, dtype=torch.float64), loss, (x, y), batch=drawn if plan.batch(0) else None, lr=plan.lr,
        every=plan.every, optimizer=lambda p: torch.optim.SGD(p, lr=plan.lr(0), momentum=plan.momentum),
    ).run(plan.steps)  # fmt: skip
    return Run(
        name,
        "convex",
        "least squares over four decades of curvature",
        plan.steps,
        healthy=True,
        attempts=[found.rows],
    )


def switched(before: int, after: int) -> Schedule:
    """A batch size until step 1500, and another from there on."""
    return lambda step: before if step < 1500 else after


def plans() -> Iterator[tuple[str, Made]]:
    """Name, and how to make the run."""
    for run in classified():
        yield run.name, run
    for number, (lr, batch, momentum, noise, drop) in enumerate(
        [
            (0.5, 0, 0.0, 0.0, 9999),
            (0.3, 16, 0.0, 0.5, 2000),
            (0.05, 0, 0.9, 0.1, 9999),
            (0.5, 32, 0.0, 1.0, 1500),
        ]
    ):
        plan = Plan(4000, stairs(lr, drop), batch=constant(batch), momentum=momentum, every=10)
        yield f"convex-{number}", functools.partial(convex, f"convex-{number}", 480 + number, plan, noise)


def classified() -> Iterator[Classified]:
    """Classification under every schedule."""
    for number, (lr, momentum, adam, sizes, activation) in enumerate(
        [(0.05, 0.0, False, (10, 32, 32, 4), "relu"), (0.02, 0.9, False, (10, 32, 32, 4), "relu"),
         (1e-3, 0.0, True, (10, 32, 32, 4), "tanh"), (0.1, 0.0, False, (10, 24, 4), "tanh"),
         (3e-3, 0.0, True, (10, 48, 4), "relu"), (0.05, 0.5, False, (10, 20, 20, 20, 4), "relu")]
    ):  # fmt: skip
        yield Classified(
            f"ordinary-{number}", f"validation follows; lr {lr}, {'Adam' if adam else f'momentum {momentum}'}", 400 + number,
            Plan(4000, constant(lr), momentum=momentum, adam=adam), sizes=sizes, activation=activation,
        )  # fmt: skip
    drops: list[tuple[float, tuple[int, ...], float]] = [
        (0.2, (1500,), 0.0),
        (0.05, (1200, 2400), 0.9),
        (0.3, (2000,), 0.0),
    ]
    for number, (lr, at, momentum) in enumerate(drops):
        yield Classified(
            f"lr-drop-{number}", f"learning rate {lr} divided by ten at {at}", 420 + number,
            Plan(3500, stairs(lr, *at), batch=constant(16), momentum=momentum),
        )  # fmt: skip
    for number, (lr, period, adam) in enumerate([(0.2, 700, False), (5e-3, 1000, True), (0.1, 500, False)]):
        yield Classified(
            f"restart-{number}", f"cosine learning rate {lr} with warm restarts every {period}", 430 + number,
            Plan(3500, cosine(lr, period), adam=adam),
        )  # fmt: skip
    for number, (lr, warm, adam) in enumerate([(0.1, 800, False), (3e-3, 1500, True), (0.3, 1200, False)]):
        yield Classified(
            f"warm-up-{number}", f"linear warm-up over {warm} steps to {lr}, then cosine", 440 + number,
            Plan(3500, cosine(lr, 3500, warm), adam=adam),
        )  # fmt: skip
    for number, (few, wrong, count) in enumerate(
        [(30, 1.0, 200), (40, 0.0, 1600), (25, 0.0, 1600), (50, 1.0, 150)]
    ):
        yield Classified(
            f"noisy-val-{number}", f"validation on {few} examples drawn anew, {'random labels' if wrong else 'learnable'}",
            460 + number, Plan(3500, constant(3e-3 if wrong else 1e-3), adam=True, few=few), count=count, wrong=wrong,
            sizes=(10, 64, 4), healthy=not wrong, allowed=["overfitting"],
        )  # fmt: skip
    for number, (before, after, lr) in enumerate([(8, 128, 0.1), (128, 8, 0.1), (4, 64, 0.05)]):
        yield Classified(
            f"batch-size-{number}", f"batches of {before}, of {after} from step 1500 on", 490 + number,
            Plan(3500, constant(lr), batch=switched(before, after)),
        )  # fmt: skip
    for number, lr in enumerate([0.4, 0.25, 1.0]):
        yield Classified(
            f"edge-{number}", f"gradient descent on all of the data at {lr}: the edge of stability", 500 + number,
            Plan(3000, constant(lr), batch=constant(0)), count=300, sizes=SMALL, activation="tanh",
            allowed=["overfitting"],
        )  # fmt: skip


def runs() -> Iterator[Made]:
    """One maker for each training."""
    for name, make in plans():
        call = functools.partial(make)
        call.__name__ = name  # type: ignore[attr-defined]
        yield call
