"""Trainings of families that no threshold has seen in which something goes wrong, or that reach the edge of stability."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from .classifiers import Classified, Made, Plan, constant, kicked, rescaled
from .escapes import from_spectrum
from .faults import growing, overflowing, unlearned
from .fresh_answers import answers, difference, dihedral, product
from .networks import perceptron, squares, start_of
from .recorder import Training, size
from .run import Event, Run
from .truth import from_edge

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
