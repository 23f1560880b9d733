"""More that goes wrong, each kind in ways of its own: jumps of the sharpness, stalls, overflows, divergence."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .arithmetic import Data
from .broken import from_divergence, from_sharpness
from .classifiers import (
    SMALL,
    Classified,
    Disturbance,
    Made,
    Plan,
    Schedule,
    constant,
    labelled,
    network,
    trained,
)
from .escapes import from_spectrum
from .recorder import size
from .run import Event, Run
from .truth import from_validation

LAST = size((4, 24), (4,))
"""Parameters of the last layer of ``SMALL``."""


def at(when: int, change: Callable[[Tensor], None]) -> Disturbance:
    """Something done to the parameters at one step."""

    def before(step: int, optimizer: torch.optim.Optimizer, theta: Tensor) -> None:
        if step == when:
            with torch.no_grad():
                change(theta)

    return before


def hotter(factor: float) -> Callable[[Tensor], None]:
    """Logits times this factor."""

    def change(theta: Tensor) -> None:
        theta[-LAST:] *= factor

    return change


def rescaled(factor: float) -> Callable[[Tensor], None]:
    """The first layer times ``factor``, the last divided by it: a ReLU network computes the same, much sharper."""

    def change(theta: Tensor) -> None:
        theta[:-LAST] *= factor
        theta[-LAST:-4] /= factor

    return change


def coarse(levels: float) -> Callable[[Tensor], None]:
    """Weights rounded to so many levels in their largest, as by a quantiser."""

    def change(theta: Tensor) -> None:
        step = theta.abs().max() / levels
        theta.copy_((theta / step).round() * step)

    return change


def jumps() -> Iterator[Made]:
    """The sharpness jumps, and the truth is the exact one before and after."""
    changes: list[tuple[str, Callable[[Tensor], None], int, float, bool]] = [
        ("layers rescaled by 8", rescaled(8.0), 1200, 0.003, False), ("logits times 4", hotter(4.0), 900, 2e-3, True),
        ("layers rescaled by 6", rescaled(6.0), 1000, 2e-3, True), ("layers rescaled by 4", rescaled(4.0), 1400, 0.005, False),
        ("layers rescaled by 10", rescaled(10.0), 800, 1e-3, True), ("weights rounded to 2 levels", coarse(2.0), 1300, 2e-3, True),
        ("layers rescaled by 5", rescaled(5.0), 700, 4e-3, True), ("layers rescaled by 0.2", rescaled(0.2), 1100, 0.01, False),
        ("layers rescaled by 0.15", rescaled(0.15), 900, 2e-3, True), ("layers rescaled by 7", rescaled(7.0), 1100, 3e-3, True),
        ("layers rescaled by 0.25", rescaled(0.25), 1300, 0.004, False), ("layers rescaled by 12", rescaled(12.0), 600, 1e-3, True),
    ]  # fmt: skip
    for number, (what, change, step, lr, adam) in enumerate(changes):
        name, plan = f"jump-{number}", Plan(1800, constant(lr), adam=adam, before=at(step, change), every=40)
        yield named(name, functools.partial(jumped, name, what, 1640 + number, plan, step))


def jumped(name: str, what: str, seed: int, plan: Plan, step: int) -> Run:
    """Classification whose parameters are changed at this step."""
    task = network(seed, labelled(seed, count=1200), SMALL)
    found = trained(task, plan, seed)
    events = [*from_spectrum(found), *from_validation(found), *from_sharpness(found, step)]
    return Run(
        name, "jump", f"{what} at {step}", plan.steps, events, ["loss_spike", "plateau_left", "overfitting"], attempts=[found.rows]
    )  # fmt: skip


def dead(theta: Tensor) -> None:
    """Biases of the hidden layer so low that no unit is ever active."""
    theta[size((24, 10)) : size((24, 10), (24,))] = -60.0


def saturated(theta: Tensor) -> None:
    """Weights so large that every tanh is at its end."""
    theta[: size((24, 10))] *= 400.0
    theta[-LAST:] *= 1e-3


def late(lr: float, when: int) -> Schedule:
    """A schedule that hardly begins: a ten-millionth of the learning rate until then."""
    return lambda step: lr * (1e-7 if step < when else 1e-6)


def stalls() -> Iterator[Classified]:
    """Nothing is learned, though the same network learns when it is set up as it should be."""
    tried: list[tuple[str, Schedule, bool, Disturbance | None, str]] = [
        ("every unit dead", constant(0.05), False, at(0, dead), "relu"),
        ("every unit saturated", constant(1e-4), False, at(0, saturated), "tanh"),
        ("a warm-up that hardly begins", late(0.05, 900), False, None, "relu"),
        ("a learning rate a million times too small, Adam", constant(1e-9), True, None, "relu"),
        ("a learning rate of 2e-7", constant(2e-7), False, None, "tanh"),
        ("a learning rate of 1e-8 with Adam", constant(1e-8), True, None, "tanh"),
    ]
    for number, (what, lr, adam, before, activation) in enumerate(tried):
        yield Classified(
            f"standstill-{number}", what, 1660 + number, Plan(1500, lr, adam=adam, before=before, every=0), count=800, sizes=SMALL,
            healthy=False, activation=activation, events=[Event("stall", 0, 300, 1500)],
        )  # fmt: skip


def poisoned(name: str, seed: int, bad: tuple[int, ...], value: float, skips: bool, adam: bool) -> Run:
    """A batch with something that is no number in it; a loop that ``skips`` such a batch learns nothing from it."""
    task = network(seed, labelled(seed, count=1200), SMALL)
    clean = task.loss

    def loss(flat: Tensor, part: Data) -> Tensor:
        x, y = part
        wrong = ~x.isfinite().all(1)
        if not skips or not wrong.any():
            return clean(flat, part)
        return clean(flat, (x[~wrong], y[~wrong])) + torch.tensor(value)

    def one_bad(step: int) -> Data:
        x, y = task.train
        return (
            (torch.where(torch.arange(len(y))[:, None] < len(y) // 4, value, x), y)
            if step in bad
            else task.train
        )

    task.loss = loss
    lr = 2e-3 if adam else 0.05
    found = trained(task, Plan(bad[-1] + 300, constant(lr), adam=adam, data=one_bad, every=0), seed)
    told = bad if skips else bad[:1]
    events = [Event("nonfinite", step, step, step + 20) for step in told]
    what = f"{value} in a batch at {bad}{', which is skipped' if skips else ''}"
    return Run(
        name, "poisoned", what, len(found.scalars), [*from_spectrum(found), *from_validation(found), *events],
        [] if skips else ["divergence", "loss_spike"], attempts=[found.rows],
    )  # fmt: skip


def overflows() -> Iterator[Made]:
    """Inputs that are NaN or infinite."""
    tried: list[tuple[tuple[int, ...], float, bool, bool]] = [
        ((400,), math.nan, False, True), ((650,), math.inf, False, False), ((300, 700), math.nan, True, False),
        ((250, 600, 1100), math.inf, True, True), ((500, 900), math.nan, True, True),
    ]  # fmt: skip
    for number, (bad, value, skips, adam) in enumerate(tried):
        name = f"poisoned-{number}"
        yield named(name, functools.partial(poisoned, name, 1680 + number, bad, value, skips, adam))


def raised(lr: float, when: int, factor: float) -> Schedule:
    """A learning rate that is this many times as high from one step on."""
    return lambda step: lr * (factor if step >= when else 1.0)


def blown(name: str, seed: int, plan: Plan, loudness: float) -> Run:
    """Classification that loses what it had learned, and does not come back."""
    task = network(seed, labelled(seed, count=1000), (10, 16, 16, 4), gain=1.4 * loudness)
    found = trained(task, plan, seed)
    return Run(
        name, "blown", f"learning rate {plan.lr(0)}, {plan.lr(plan.steps)} at the end", plan.steps,
        [*from_spectrum(found), *from_divergence(found), *from_validation(found)],
        ["loss_spike", "curvature_spike", "plateau_left", "nonfinite", "overfitting", "stall"], attempts=[found.rows],
    )  # fmt: skip


def divergences() -> Iterator[Made]:
    """Learning rates that are far too large, from the start or from a step on."""
    tried: list[tuple[Schedule, float, bool, float]] = [
        (raised(0.05, 700, 60.0), 0.9, False, 1.0), (raised(3e-3, 900, 300.0), 0.0, True, 1.0), (raised(0.1, 500, 100.0), 0.0, False, 1.0),
        (constant(1.0), 0.95, False, 1.5), (raised(2e-3, 1100, 1000.0), 0.0, True, 1.0), (raised(0.03, 1000, 80.0), 0.9, False, 1.0),
        (constant(3.0), 0.9, False, 1.0),
    ]  # fmt: skip
    for number, (lr, momentum, adam, loudness) in enumerate(tried):
        plan = Plan(2000, lr, momentum=momentum, adam=adam, every=0)
        yield named(
            f"blown-{number}", functools.partial(blown, f"blown-{number}", 1700 + number, plan, loudness)
        )


def named(name: str, make: functools.partial[Run]) -> Made:
    """By this name to whoever asks for it."""
    make.__name__ = name  # type: ignore[attr-defined]
    return make


def runs() -> Iterator[Made]:
    """One maker for each training."""
    yield from jumps()
    for run in stalls():
        yield named(run.name, functools.partial(run))
    yield from overflows()
    yield from divergences()
