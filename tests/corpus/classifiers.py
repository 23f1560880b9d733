"""Classification as it is trained every day: data, network, schedules, and what may be done to it on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .arithmetic import Data, Task, right
from .escapes import from_spectrum
from .networks import perceptron, start_of
from .recorder import Recorded, Training
from .run import Event, Run
from .truth import from_accuracies, from_validation

Schedule = Callable[[int], float]
Disturbance = Callable[[int, torch.optim.Optimizer, Tensor], None]
Made = Callable[[], Run]


def labelled(
    seed: int, *, count: int, wrong: float = 0.0, classes: int = 4, width: int = 10, shift: float = 0.0
) -> tuple[Data, Data]:
    """Classes given by a random network, some of the training labels wrong; for training and for validation."""
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(width, 24, generator=generator), torch.randn(24, classes, generator=generator)
    x = torch.randn(count + 400, width, generator=generator) + shift
    scores = torch.tanh(x @ first / width**0.5 * 1.5) @ second
    y = (scores - scores.mean(0)).argmax(1)
    flipped = torch.rand(count, generator=generator) < wrong
    y[:count][flipped] = torch.randint(classes, (int(flipped.sum()),), generator=generator)
    return (x[:count], y[:count]), (x[count:], y[count:])


def network(
    seed: int, data: tuple[Data, Data], sizes: Sequence[int], *, activation: str = "relu", gain: float = 1.4
) -> Task:
    """With the usual initialisation: variance gain²/fan-in."""
    generator = torch.Generator().manual_seed(seed)
    _, loss, outputs = perceptron(sizes, activation, cross_entropy)
    return Task(start_of(sizes, gain, generator), loss, outputs, *data)


@dataclass
class Plan:
    """How a task is trained."""

    steps: int
    lr: Schedule
    batch: Schedule = lambda step: 32
    momentum: float = 0.0
    adam: bool = False
    decay: float = 0.0
    eval_every: int = 25
    few: int = 0
    """Validation examples drawn anew for each evaluation; 0: all."""
    before: Disturbance | None = None
    data: Callable[[int], Data] | None = None
    """Training data of a step, where it changes."""
    every: int = 20


def trained(task: Task, plan: Plan, seed: int = 0, first: int = 0) -> Recorded:
    """The training, written down."""
    generator = torch.Generator().manual_seed(seed + 7 + first)

    def drawn(step: int) -> Data:
        x, y = task.train if plan.data is None else plan.data(step)
        rows = torch.randint(len(y), (int(plan.batch(step)),), generator=generator)
        return x[rows], y[rows]

    def evaluate(theta: Tensor, step: int) -> dict[str, float]:
        values = task.evaluate(theta, step)
        if plan.few:
            rows = torch.randint(len(task.val[1]), (plan.few,), generator=generator)
            with torch.no_grad():
                few = task.val[0][rows], task.val[1][rows]
                values["val/acc"] = right(task.outputs(theta, few[0]), few[1])
                values["val/loss"] = float(task.loss(theta, few))
        return values

    def optimizer(parameters: list[Tensor]) -> torch.optim.Optimizer:
        if plan.adam:
            return torch.optim.AdamW(parameters, lr=plan.lr(first), weight_decay=plan.decay)
        return torch.optim.SGD(parameters, lr=plan.lr(first), momentum=plan.momentum, weight_decay=plan.decay)

    whole = plan.batch(0) == 0
    return Training(
        task.theta, task.loss, task.train, batch=None if whole else drawn, optimizer=optimizer, lr=plan.lr,
        evaluate=evaluate, eval_every=plan.eval_every, before=plan.before, every=plan.every,
    ).run(plan.steps, first)  # fmt: skip


def constant(value: float) -> Schedule:
    return lambda step: value


def stairs(value: float, *drops: int, factor: float = 0.1) -> Schedule:
    """A tenth at each of these steps."""
    return lambda step: value * factor ** sum(step >= at for at in drops)


def cosine(value: float, period: int, warm: int = 0) -> Schedule:
    """Down to 1 % over each period, then back at once; after a linear warm-up."""

    def lr(step: int) -> float:
        if step < warm:
            return value * (step + 1) / warm
        return value * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * ((step - warm) % period) / period)))

    return lr


def kicked(at: Sequence[int], how: float, seed: int) -> Disturbance:
    """Noise of this size, relative to each weight's spread, added to the parameters at these steps."""

    def before(step: int, optimizer: torch.optim.Optimizer, theta: Tensor) -> None:
        if step in at:
            generator = torch.Generator().manual_seed(seed + step)
            with torch.no_grad():
                theta += how * theta.std() * torch.randn(theta.shape, generator=generator)

    return before


def rescaled(at: int, factor: float, first: int) -> Disturbance:
    """The first layer times ``factor``, the rest divided by it: a ReLU network computes the same, much sharper."""

    def before(step: int, optimizer: torch.optim.Optimizer, theta: Tensor) -> None:
        if step == at:
            with torch.no_grad():
                theta[:first] *= factor
                theta[first:] /= factor

    return before


SMALL, WIDE = (10, 24, 4), (10, 32, 32, 4)


@dataclass
class Classified:
    """A run of classification, made when called."""

    name: str
    what: str
    seed: int
    plan: Plan
    sizes: Sequence[int] = WIDE
    count: int = 1600
    wrong: float = 0.0
    healthy: bool = True
    events: Sequence[Event] = ()
    allowed: Sequence[str] = ()
    gain: float = 1.4
    activation: str = "relu"

    def __call__(self) -> Run:
        data = labelled(self.seed, count=self.count, wrong=self.wrong)
        task = network(self.seed, data, self.sizes, gain=self.gain, activation=self.activation)
        found = trained(task, self.plan, self.seed)
        events = [
            *from_spectrum(found),
            *from_accuracies(found),
            *from_validation(found),
            *self.events,
        ]
        family = self.name.rpartition("-")[0]
        return Run(
            self.name,
            family,
            self.what,
            self.plan.steps,
            events,
            list(self.allowed),
            self.healthy,
            [found.rows],
        )
