"""Small networks of families that no threshold has seen: students of a teacher, a tree of classes, attention."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .escapes import from_spectrum
from .fresh_products import Planned, makers, sgd, some
from .networks import perceptron, squares, start_of
from .recorder import Recorded, Training, cut, size
from .run import Run


def student(
    seed: int, *, activation: str, teachers: int, hidden: int, gain: float, lr: float, steps: int, batch: int = 0, inputs: int = 8,
    adam: bool = False,
) -> Recorded:  # fmt: skip
    """A network learns what another of its kind, with few hidden units of different weight, says of white inputs."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(400, inputs, generator=generator)
    directions = torch.linalg.qr(torch.randn(inputs, teachers, generator=generator))[0] * 1.5
    weights = torch.tensor([2.0, 1.2, 0.7, 0.5])[:teachers] * torch.tensor([1.0, -1.0, 1.0, -1.0])[:teachers]
    act = torch.relu if activation == "relu" else torch.tanh
    y = (act(x @ directions) @ weights)[:, None]
    sizes = (inputs, hidden, 1)
    _, loss, _ = perceptron(sizes, activation, squares, bias=False)
    return Training(
        start_of(sizes, gain, generator, bias=False), loss, (x, y), batch=some(batch, generator, x, y), lr=lambda step: lr,
        optimizer=(lambda p: torch.optim.Adam(p, lr=lr)) if adam else sgd(lr), every=20,
    ).run(steps)  # fmt: skip


def nested(seed: int, *, activation: str, gain: float, lr: float, steps: int, batch: int = 0) -> Recorded:
    """Six classes in a tree of three levels, cross-entropy, two hidden layers that start small."""
    generator = torch.Generator().manual_seed(seed)
    level = torch.randn(3, 6, 6, generator=generator) * torch.tensor([2.5, 1.2, 0.5])[:, None, None]
    kinds = torch.arange(6)
    centres = level[0][kinds // 3] + level[1][kinds // 2] + level[2][kinds]
    labels = torch.arange(180) % 6
    x = centres[labels] + 0.3 * torch.randn(180, 6, generator=generator)
    sizes = (6, 10, 6)
    _, loss, _ = perceptron(sizes, activation, cross_entropy)
    return Training(
        start_of(sizes, gain, generator), loss, (x, labels), batch=some(batch, generator, x, labels), lr=lambda step: lr, optimizer=sgd(lr), every=20
    ).run(steps)  # fmt: skip


SYMBOLS, LENGTH, WIDTH = 6, 8, 8


def attention(seed: int, *, gain: float, lr: float, steps: int, adam: bool) -> Recorded:
    """Which symbol followed the last one when it came before: one layer of softmax attention that starts small."""
    generator = torch.Generator().manual_seed(seed)
    sequences = torch.stack(
        [torch.randperm(SYMBOLS, generator=generator).repeat(2)[:LENGTH] for _ in range(240)]
    )
    asked = torch.randint(1, SYMBOLS - 1, (240,), generator=generator)
    rows = torch.arange(240)
    query, answer = sequences[rows, asked], sequences[rows, asked + 1]
    before = torch.nn.functional.one_hot(sequences[:, :-1], SYMBOLS).float()  # keys: what stood before
    after = torch.nn.functional.one_hot(sequences[:, 1:], SYMBOLS).float()  # values: what came next
    shapes = [(SYMBOLS, WIDTH), (SYMBOLS, WIDTH), (SYMBOLS, SYMBOLS)]
    theta = gain * torch.randn(size(*shapes), generator=generator)

    def loss(flat: Tensor, part: Any) -> Tensor:
        queries, keys, out = cut(flat, *shapes)
        before_, after_, query_, answer_ = part
        scores = torch.einsum("nd,nld->nl", queries[query_], before_ @ keys)
        seen = torch.einsum("nl,nls->ns", torch.softmax(scores, -1), after_)
        return cross_entropy(seen @ out.T, answer_)

    return Training(
        theta, loss, (before, after, query, answer), lr=lambda step: lr,
        optimizer=(lambda p: torch.optim.Adam(p, lr=lr)) if adam else sgd(lr), every=20,
    ).run(steps)  # fmt: skip


def plans() -> Iterator[Planned]:
    """Name, what it is, where its truth is from, and how to make it."""
    for number, (activation, teachers, hidden, gain, lr, steps, batch, adam) in enumerate(
        [("relu", 2, 12, 0.01, 0.01, 2500, 0, False), ("relu", 3, 16, 0.003, 0.01, 3000, 0, False), ("tanh", 2, 10, 0.01, 0.02, 2500, 0, False),
         ("tanh", 3, 14, 0.02, 0.02, 3000, 32, False), ("relu", 3, 12, 0.01, 0.01, 3000, 16, False), ("tanh", 2, 12, 0.003, 6e-4, 3000, 0, True)]
    ):  # fmt: skip
        yield (
            f"student-{number}", f"{activation} student of {hidden} of a teacher of {teachers}, start {gain}, batch {batch or 'all'}{', Adam' if adam else ''}",
            from_spectrum,
            functools.partial(student, 1100 + number, activation=activation, teachers=teachers, hidden=hidden, gain=gain, lr=lr, steps=steps, batch=batch, adam=adam),
        )  # fmt: skip
    for number, (activation, gain, lr, steps, batch) in enumerate(
        [("tanh", 0.03, 0.03, 2500, 0), ("relu", 0.05, 0.02, 2500, 0), ("tanh", 0.02, 0.03, 2500, 20)]
    ):
        yield (
            f"nested-{number}", f"{activation} network on six classes in a tree, start {gain}, batch {batch or 'all'}", from_spectrum,
            functools.partial(nested, 1120 + number, activation=activation, gain=gain, lr=lr, steps=steps, batch=batch),
        )  # fmt: skip
    for number, (gain, lr, steps, adam) in enumerate(
        [(0.03, 0.5, 3000, False), (0.05, 2e-3, 2500, True), (0.1, 0.5, 2500, False)]
    ):
        yield (
            f"attention-{number}", f"attention that is to find what came after, start {gain}, {'Adam' if adam else 'SGD'} {lr}", from_spectrum,
            functools.partial(attention, 1140 + number, gain=gain, lr=lr, steps=steps, adam=adam),
        )  # fmt: skip


def runs() -> Iterator[Callable[[], Run]]:
    """One maker for each training."""
    return makers(plans())
