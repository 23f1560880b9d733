"""Healthy trainings of families that no threshold has seen, under every schedule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import torch

from .arithmetic import Task
from .classifiers import Plan, Schedule, constant, trained
from .escapes import from_spectrum
from .fresh_tasks import compressed, convolved, everyday, heavy, recurrent, regressed
from .run import Run
from .truth import from_validation


def one_cycle(peak: float, steps: int) -> Schedule:
    """Up to the peak over a third of the run, down to nothing over the rest."""
    third = steps / 3
    return lambda step: (
        peak * (step + 1) / third if step < third else peak * max(1e-4, (steps - step) / (steps - third))
    )


def decaying(lr: float, half: float) -> Schedule:
    """Halved every so many steps."""
    return lambda step: lr * 0.5 ** (step / half)


def stepwise(first: float, *later: tuple[int, float]) -> Schedule:
    """A value that changes at these steps."""
    return lambda step: [first, *(value for at, value in later if step >= at)][-1]


class Healthy:
    """A training of one of these tasks; of those without labels only losses are evaluated."""

    def __init__(self, name: str, what: str, task: Callable[[], Task], plan: Plan, seed: int) -> None:
        self.name = self.__name__ = name
        self.what, self.task, self.plan, self.seed = what, task, plan, seed

    def __call__(self) -> Run:
        torch.manual_seed(self.seed)
        task = self.task()
        if task.val[1].is_floating_point():
            task.evaluate = lambda theta, step: {"val/loss": float(task.loss(theta, task.val).detach())}  # type: ignore[method-assign]
        found = trained(task, self.plan, self.seed)
        events = [*from_spectrum(found), *from_validation(found)]
        return Run(
            self.name,
            self.name.rpartition("-")[0],
            self.what,
            self.plan.steps,
            events,
            healthy=True,
            attempts=[found.rows],
        )


def runs() -> Iterator[Healthy]:
    """Nothing happens in them that a person should be told of."""
    steps = 3600
    waves: list[tuple[Schedule, bool, Sequence[int], str, bool]] = [
        (one_cycle(0.3, steps), False, (5, 40, 1), "tanh", False), (decaying(0.2, 700), False, (5, 24, 24, 1), "relu", True),
        (one_cycle(8e-3, steps), True, (4, 32, 32, 1), "relu", False), (constant(0.1), False, (5, 40, 1), "tanh", True),
        (stepwise(0.02, (1200, 0.06), (2400, 0.006)), False, (4, 24, 24, 1), "tanh", False),
    ]  # fmt: skip
    for number, (lr, adam, sizes, activation, robust) in enumerate(waves):
        yield Healthy(
            f"waves-{number}", f"regression under noise, {activation}, {sizes}", functools.partial(regressed, 1300 + number, sizes, activation=activation, robust=robust, noise=0.3),
            Plan(steps, lr, adam=adam, batch=constant(24), momentum=0.0 if adam else 0.5), 1300 + number,
        )  # fmt: skip
    for number, (lr, adam, batch) in enumerate(
        [(constant(2e-3), True, 32), (decaying(0.1, 1500), False, 16), (one_cycle(0.2, steps), False, 64)]
    ):
        yield Healthy(f"squeeze-{number}", "autoencoder", functools.partial(compressed, 1320 + number, 20), Plan(steps, lr, adam=adam, batch=constant(batch), every=40), 1320 + number)  # fmt: skip
    for number, (lr, adam) in enumerate(
        [(constant(3e-3), True), (decaying(0.1, 900), False), (one_cycle(6e-3, 3000), True)]
    ):
        yield Healthy(f"shapes-{number}", "convolutions on noisy series", functools.partial(convolved, 1340 + number), Plan(3000, lr, adam=adam, every=40), 1340 + number)  # fmt: skip
    for number, (lr, adam) in enumerate(
        [(constant(0.05), False), (decaying(5e-3, 1200), True), (stepwise(0.1, (2000, 0.02)), False)]
    ):
        yield Healthy(f"recurrent-{number}", "recurrent network on waves", functools.partial(recurrent, 1360 + number), Plan(3000, lr, adam=adam, batch=constant(16), every=40), 1360 + number)  # fmt: skip
    for number, (lr, classes, tails, batch) in enumerate(
        [
            (constant(0.1), 3, 3.0, 8),
            (decaying(0.5, 600), 5, 0.0, 16),
            (stepwise(0.02, (1500, 0.2)), 4, 2.5, 32),
            (one_cycle(1.0, steps), 6, 0.0, 4),
        ]
    ):
        yield Healthy(f"softmax-{number}", "softmax regression", functools.partial(heavy, 1380 + number, classes, tails), Plan(steps, lr, batch=constant(batch), every=40), 1380 + number)  # fmt: skip
    for number, (lr, momentum, adam, batches) in enumerate(
        [(one_cycle(0.2, steps), 0.0, False, constant(16)), (decaying(0.1, 1000), 0.9, False, constant(64)),
         (constant(2e-3), 0.0, True, stepwise(8, (900, 32), (1800, 128), (2700, 512))), (stepwise(0.2, (1000, 0.1), (2000, 0.05), (3000, 0.025)), 0.0, False, constant(24)),
         (constant(5e-3), 0.0, True, constant(6)), (one_cycle(0.05, steps), 0.9, False, stepwise(64, (1800, 8)))]
    ):  # fmt: skip
        yield Healthy(
            f"everyday-{number}", "classification", functools.partial(everyday, 1400 + number), Plan(steps, lr, batch=batches, adam=adam, momentum=momentum, every=40), 1400 + number
        )  # fmt: skip
