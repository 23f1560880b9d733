"""What had been learned in general is lost again: to few examples, to wrong answers, to another task."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from .arithmetic import Data, Task
from .breakdowns import named
from .broken import from_generalization
from .classifiers import SMALL, Made, Plan, constant, labelled, network, trained
from .escapes import from_spectrum
from .run import Run
from .truth import from_validation


def narrowed(data: Data, count: int, wrong: float, seed: int) -> Data:
    """So many of the examples, and this share of their answers wrong."""
    generator = torch.Generator().manual_seed(seed)
    x, y = data[0][:count], data[1][:count].clone()
    flipped = torch.rand(count, generator=generator) < wrong
    y[flipped] = (y[flipped] + torch.randint(1, 4, (int(flipped.sum()),), generator=generator)) % 4
    return x, y


def elsewhere(data: Data, seed: int) -> Data:
    """The same labels for inputs that are turned: another task."""
    turn = torch.linalg.qr(torch.randn(10, 10, generator=torch.Generator().manual_seed(seed)))[0]
    return data[0] @ turn, data[1]


def shifted(name: str, what: str, seed: int, plan: Plan, when: int, later: str) -> Run:
    """Classification whose training data is other from this step on; validation stays what it was."""
    task = network(seed, labelled(seed, count=1200), (10, 64, 4) if later != "turned" else SMALL)
    first = task.train
    second = elsewhere(first, seed) if later == "turned" else narrowed(first, int(later), 0.5, seed)
    plan.data = lambda step: first if step < when else second

    def evaluate(theta: Tensor, step: int) -> dict[str, float]:
        task.train = first if step < when else second
        values = Task.evaluate(task, theta, step)
        task.train = first
        return values

    task.evaluate = evaluate  # type: ignore[method-assign]
    found = trained(task, plan, seed)
    events = [*from_spectrum(found), *from_generalization(found), *from_validation(found)]
    return Run(
        name, "setback", what, plan.steps, events,
        ["loss_spike", "curvature_spike", "overfitting", "divergence", "memorized", "grokking_onset", "plateau_left"],
        attempts=[found.rows],
    )  # fmt: skip


def runs() -> Iterator[Made]:
    """One maker for each training."""
    tried: list[tuple[str, float, bool, int]] = [
        ("60", 3e-3, True, 1000), ("turned", 0.1, False, 1200), ("120", 3e-3, True, 1400), ("40", 0.2, False, 1000),
        ("turned", 4e-3, True, 900), ("200", 5e-3, True, 1200), ("turned", 0.05, False, 1500), ("80", 2e-3, True, 1300),
        ("30", 0.1, False, 1600),
    ]  # fmt: skip
    for number, (later, lr, adam, when) in enumerate(tried):
        plan = Plan(when + 1500, constant(lr), adam=adam, every=0)
        what = f"from step {when} on " + (
            "another task" if later == "turned" else f"{later} examples, half of them wrong"
        )
        name = f"setback-{number}"
        yield named(name, functools.partial(shifted, name, what, 1720 + number, plan, when, later))
