"""Ordinary trainings of families that no threshold has seen, healthy ones and such as go wrong."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv1d, cross_entropy, huber_loss, one_hot

from .arithmetic import Task
from .classifiers import Classified, Made, Plan, Schedule, constant, kicked, rescaled, trained
from .escapes import from_spectrum
from .faults import growing, overflowing, unlearned
from .fresh_answers import answers, difference, dihedral, product
from .networks import perceptron, squares, start_of
from .recorder import Training, cut, size
from .run import Event, Run
from .truth import from_edge, from_validation


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


def regressed(seed: int, sizes: Sequence[int], *, activation: str, robust: bool, noise: float) -> Task:
    """A wavy function of several inputs under noise."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1400, sizes[0], generator=generator)
    waves = torch.randn(sizes[0], 3, generator=generator)
    y = torch.sin(x @ waves).sum(1, keepdim=True) + noise * torch.randn(1400, 1, generator=generator)
    criterion = (lambda a, b: huber_loss(a, b)) if robust else squares
    _, loss, outputs = perceptron(sizes, activation, criterion)
    return Task(start_of(sizes, 1.2, generator), loss, outputs, (x[:1000], y[:1000]), (x[1000:], y[1000:]))


def compressed(seed: int, hidden: int) -> Task:
    """A ReLU autoencoder of points near a curved surface."""
    generator = torch.Generator().manual_seed(seed)
    inner = torch.randn(1400, 3, generator=generator)
    x = torch.tanh(inner @ torch.randn(3, 12, generator=generator)) + 0.05 * torch.randn(
        1400, 12, generator=generator
    )
    sizes = (12, hidden, 4, hidden, 12)
    _, loss, outputs = perceptron(sizes, "relu", squares)
    return Task(start_of(sizes, 1.4, generator), loss, outputs, (x[:1000], x[:1000]), (x[1000:], x[1000:]))


def convolved(seed: int) -> Task:
    """Which of four shapes is hidden in a noisy series: two convolutions and a mean."""
    generator = torch.Generator().manual_seed(seed)
    shapes = torch.randn(4, 7, generator=generator)
    labels = torch.randint(4, (1200,), generator=generator)
    x = 0.5 * torch.randn(1200, 24, generator=generator)
    for row, at in enumerate(torch.randint(0, 17, (1200,), generator=generator).tolist()):
        x[row, at : at + 7] += shapes[labels[row]]
    pieces = [(8, 1, 5), (8,), (8, 8, 5), (8,), (4, 8), (4,)]

    def outputs(flat: Tensor, x: Tensor) -> Tensor:
        first, b1, second, b2, last, b3 = cut(flat, *pieces)
        h = torch.relu(conv1d(x[:, None], first, b1))
        h = torch.relu(conv1d(h, second, b2)).amax(2)
        return h @ last.T + b3

    theta = torch.cat([torch.randn(math.prod(s), generator=generator) / math.sqrt(math.prod(s[1:]) / 2) if len(s) > 1 else torch.zeros(s) for s in pieces])  # fmt: skip
    return Task(theta, lambda flat, part: cross_entropy(outputs(flat, part[0]), part[1]), outputs, (x[:800], labels[:800]), (x[800:], labels[800:]))  # fmt: skip


def recurrent(seed: int) -> Task:
    """The next value of a sum of two waves, by a small recurrent network."""
    generator = torch.Generator().manual_seed(seed)
    phase, speed = (
        6.3 * torch.rand(900, 2, 1, generator=generator),
        0.2 + 0.6 * torch.rand(900, 2, 1, generator=generator),
    )
    series = torch.sin(phase + speed * torch.arange(13)).sum(1) + 0.05 * torch.randn(
        900, 13, generator=generator
    )
    shapes = [(16, 1), (16, 16), (16,), (1, 16), (1,)]

    def outputs(flat: Tensor, x: Tensor) -> Tensor:
        inward, again, bias, out, shift = cut(flat, *shapes)
        h = torch.zeros(len(x), 16)
        for step in range(x.shape[1]):
            h = torch.tanh(x[:, step : step + 1] @ inward.T + h @ again.T + bias)
        return h @ out.T + shift

    theta = 0.25 * torch.randn(size(*shapes), generator=generator)
    return Task(theta, lambda flat, part: squares(outputs(flat, part[0]), part[1]), outputs, (series[:600, :12], series[:600, 12:]), (series[600:, :12], series[600:, 12:]))  # fmt: skip


def heavy(seed: int, classes: int, tails: float) -> Task:
    """Softmax regression, convex, on inputs of heavy tails."""
    generator = torch.Generator().manual_seed(seed)
    x = (
        torch.distributions.StudentT(tails).sample((1400, 8))
        if tails
        else torch.randn(1400, 8, generator=generator)
    )
    x = x.clamp(-20, 20)
    y = (
        x @ torch.randn(8, classes, generator=generator) + torch.randn(1400, classes, generator=generator)
    ).argmax(1)
    _, loss, outputs = perceptron((8, classes), "tanh", cross_entropy)
    return Task(
        0.01 * torch.randn(8 * classes + classes, generator=generator),
        loss,
        outputs,
        (x[:1000], y[:1000]),
        (x[1000:], y[1000:]),
    )


class Healthy:
    """A training of one of these tasks; of those without labels only losses are evaluated."""

    def __init__(self, name: str, what: str, task: Callable[[], Task], plan: Plan, seed: int) -> None:
        self.name, self.what, self.task, self.plan, self.seed = name, what, task, plan, seed

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


def healthy() -> Iterator[Healthy]:
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


def everyday(seed: int) -> Task:
    """Five classes of clusters that overlap, in eight dimensions; there is enough data."""
    generator = torch.Generator().manual_seed(seed)
    centres = 1.1 * torch.randn(5, 3, 8, generator=generator)
    labels = torch.randint(5, (4400,), generator=generator)
    x = centres[labels, torch.randint(3, (4400,), generator=generator)] + torch.randn(
        4400, 8, generator=generator
    )
    sizes = (8, 28, 20, 5)
    _, loss, outputs = perceptron(sizes, "relu", cross_entropy)
    return Task(
        start_of(sizes, 1.4, generator), loss, outputs, (x[:4000], labels[:4000]), (x[4000:], labels[4000:])
    )


WIDE = (10, 28, 28, 4)


def troubled() -> Iterator[Classified]:
    """Classification to which something happens."""
    kicks: list[tuple[tuple[int, ...], float, float]] = [
        ((1000, 2200), 2.0, 0.04),
        ((1500,), 3.0, 0.08),
        ((700, 1700), 2.5, 0.05),
        ((2000,), 2.0, 0.1),
    ]
    for number, (at, how, lr) in enumerate(kicks):
        yield Classified(
            f"jolt-{number}", f"parameters disturbed at {at}, {how} times their spread", 1450 + number,
            Plan(3000, constant(lr), batch=constant(48), before=kicked(at, how, number + 90), every=40), sizes=WIDE, healthy=False,
            events=[Event("loss_spike", step, step, step + 60) for step in at], allowed=["curvature_spike"],
        )  # fmt: skip
    for number, (lr, step, momentum) in enumerate(
        [(0.04, 700, 0.0), (0.02, 1100, 0.9), (0.1, 300, 0.0), (0.05, 900, 0.5), (0.08, 500, 0.0)]
    ):
        yield Classified(
            f"overflow-{number}", f"overflow at step {step}", 1460 + number, Plan(step + 300, constant(lr), momentum=momentum, before=overflowing(step), every=40),
            count=900, sizes=WIDE, healthy=False, events=[Event("nonfinite", step, step + 1, step + 20)], allowed=["divergence", "loss_spike"],
        )  # fmt: skip
    for number, (lr, step, rise, momentum) in enumerate(
        [
            (0.05, 800, 1.004, 0.9),
            (0.1, 600, 1.003, 0.0),
            (0.03, 1200, 1.005, 0.9),
            (0.05, 500, 1.004, 0.95),
            (0.08, 700, 1.005, 0.0),
        ]
    ):
        yield Classified(
            f"runaway-{number}", f"learning rate {lr} growing {rise - 1:.1%} a step from {step} on", 1470 + number,
            Plan(step + 1800, growing(lr, step, rise), momentum=momentum, batch=constant(24), every=40), count=900, sizes=WIDE, healthy=False,
            events=[Event("divergence", step, step + 900, step + 1800)], allowed=["loss_spike", "curvature_spike", "plateau_left", "nonfinite", "overfitting"],
        )  # fmt: skip
    for number, (lr, gain, depth) in enumerate(
        [(2e-6, 1.4, 2), (0.02, 0.2, 6), (5e-7, 1.6, 3), (0.01, 0.3, 8), (1e-6, 1.0, 4)]
    ):
        yield Classified(
            f"frozen-{number}", f"learning rate {lr}, start {gain} in {depth} layers: nothing is learned", 1480 + number,
            Plan(1800, constant(lr), every=40), sizes=(10, *[14] * depth, 4), gain=gain, count=900, healthy=False, events=[Event("stall", 0, 300, 1800)],
        )  # fmt: skip
    for number, (step, factor) in enumerate(
        [(1200, 6.0), (1800, 4.0), (900, 10.0), (1500, 5.0), (1100, 7.0)]
    ):
        yield Classified(
            f"stretched-{number}", f"layers rescaled by {factor} at {step}: the same function, much sharper", 1490 + number,
            Plan(2500, constant(3e-3), before=rescaled(step, factor, size((20, 10), (20,)))), sizes=(10, 20, 4),
            healthy=False, events=[Event("curvature_spike", step, step, step + 100)], allowed=["loss_spike"],
        )  # fmt: skip
    for number, (count, wrong, lr) in enumerate(
        [(100, 0.2, 3e-3), (160, 0.3, 2e-3), (220, 0.2, 4e-3), (90, 0.0, 3e-3)]
    ):
        yield Classified(
            f"heart-{number}", f"{count} examples, {wrong:.0%} of the labels random", 1500 + number,
            Plan(2500, constant(lr), adam=True, every=40), count=count, wrong=wrong, sizes=(10, 56, 4), healthy=False,
        )  # fmt: skip


def on_the_edge(number: int, lr: float, momentum: float, sizes: Sequence[int], steps: int) -> Run:
    """All of the data at each step; the sharpness over the optimizer's own edge, as the probe gives it."""
    generator = torch.Generator().manual_seed(1520 + number)
    x = torch.randn(200, sizes[0], generator=generator)
    y = one_hot((x @ torch.randn(sizes[0], sizes[-1], generator=generator)).argmax(1)).float()
    _, loss, _ = perceptron(sizes, "tanh", squares)
    found = Training(
        start_of(sizes, 1.0, generator), loss, (x, y), lr=lambda step: lr, optimizer=lambda p: torch.optim.SGD(p, lr=lr, momentum=momentum), every=20
    ).run(steps)  # fmt: skip
    edge = 2 * (1 + momentum) / lr
    ratios = {row[0]: row[1] / edge for row in found.curvature}
    for step, values in found.scalars:
        if step in ratios:
            values |= {"stability/ratio": ratios[step], "hessian/edge": edge}
    return Run(
        f"hover-{number}", "hover", f"gradient descent at {lr}, momentum {momentum}, on all of the data", steps,
        [*from_spectrum(found), *from_edge(found)], attempts=[found.rows],
    )  # fmt: skip


def plans() -> Iterator[tuple[str, Made]]:
    """Name, and how to make the run."""
    for well in healthy():
        yield well.name, well
    for ill in troubled():
        yield ill.name, ill
    for number, (lr, momentum, sizes, steps) in enumerate(
        [(0.3, 0.0, (6, 16, 3), 2500), (0.6, 0.0, (6, 16, 3), 2000), (0.05, 0.9, (6, 16, 3), 2000), (0.2, 0.0, (5, 12, 12, 3), 2500),
         (0.02, 0.0, (6, 16, 3), 2000)]
    ):  # fmt: skip
        yield f"hover-{number}", functools.partial(on_the_edge, number, lr, momentum, sizes, steps)
    tables: list[tuple[Tensor, float, int]] = [
        (difference(29), 0.6, 1500),
        (product(29), 0.65, 1500),
        (dihedral(15), 0.65, 1800),
        (difference(23), 0.7, 1600),
        (product(23), 0.7, 1500),
    ]
    for number, (table, share, at) in enumerate(tables):
        yield f"unlearned-{number}", functools.partial(forgetting, number, table, share, at)


def forgetting(number: int, table: Tensor, share: float, at: int) -> Run:
    """A table that is grokked, and gets wrong entries from this step on."""
    return unlearned(f"unlearned-{number}", number, answers(1540 + number, table, share=share, hidden=96), at)


def runs() -> Iterator[Made]:
    """One maker for each training."""
    for name, make in plans():
        call = functools.partial(make)
        call.__name__ = name  # type: ignore[attr-defined]
        yield call
