"""Small networks that start near zero, where the loss has a saddle: regression and classification, with and without noise."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .escapes import from_spectrum
from .recorder import LossFn, Recorded, Training, cut, size
from .run import Run

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "square": torch.square,
}


def perceptron(
    sizes: Sequence[int], activation: str, criterion: LossFn, bias: bool = True
) -> tuple[int, LossFn, Callable[[Tensor, Tensor], Tensor]]:
    """Number of parameters, the loss of a batch, and the outputs of a network with these layers."""
    act = ACTIVATIONS[activation]
    shapes: list[tuple[int, ...]] = []
    for before, after in itertools.pairwise(sizes):
        shapes += [(after, before), (after,)] if bias else [(after, before)]

    def outputs(flat: Tensor, x: Tensor) -> Tensor:
        pieces = cut(flat, *shapes)
        each = 2 if bias else 1
        for layer in range(0, len(pieces), each):
            x = x @ pieces[layer].T
            x = x + pieces[layer + 1] if bias else x
            x = act(x) if layer + each < len(pieces) else x
        return x

    def loss(flat: Tensor, batch: Any) -> Tensor:
        return criterion(outputs(flat, batch[0]), batch[1])

    return size(*shapes), loss, outputs


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the mean squared distance."""
    return 0.5 * (outputs - targets).square().sum(1).mean()


def start_of(sizes: Sequence[int], gain: float, generator: torch.Generator, bias: bool = True) -> Tensor:
    """Weights of standard deviation gain/√fan-in, biases zero, as one vector."""
    pieces = []
    for before, after in itertools.pairwise(sizes):
        pieces.append((gain / before**0.5 * torch.randn(after, before, generator=generator)).reshape(-1))
        if bias:
            pieces.append(torch.zeros(after))
    return torch.cat(pieces)


def regression(
    seed: int, *, activation: str, gain: float, lr: float, steps: int, values: Sequence[float] = (3.0, 1.5, 0.7),
    batch: int = 0, noise: float = 0.0, adam: bool = False, momentum: float = 0.0, every: int = 10,
) -> Recorded:  # fmt: skip
    """Outputs T x plus a ripple, learned one singular value of T after the other by a network with one hidden layer."""
    generator = torch.Generator().manual_seed(seed)
    inputs_, hidden, outputs_, count = 6, 12, len(values), 128
    x = torch.linalg.qr(torch.randn(count, inputs_, generator=generator))[0] * count**0.5
    turn = torch.linalg.qr(torch.randn(inputs_, inputs_, generator=generator))[0][:, :outputs_]
    other = torch.linalg.qr(torch.randn(outputs_, outputs_, generator=generator))[0]
    y = (x @ turn * torch.tensor(values)) @ other
    y = y + 0.2 * torch.sin(2 * x[:, :1]) if activation == "relu" else y
    sizes = (inputs_, hidden, outputs_)
    _, loss, _ = perceptron(sizes, activation, squares, bias=activation != "relu")

    def drawn(step: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(count, (batch,), generator=generator)
        return x[rows], y[rows] + noise * torch.randn(batch, outputs_, generator=generator)

    theta = start_of(sizes, gain, generator, bias=activation != "relu")

    def optimizer(parameters: list[Tensor]) -> torch.optim.Optimizer:
        return (
            torch.optim.Adam(parameters, lr=lr)
            if adam
            else torch.optim.SGD(parameters, lr=lr, momentum=momentum)
        )

    return Training(
        theta, loss, (x, y), batch=drawn if batch else None, optimizer=optimizer, lr=lambda step: lr, every=every
    ).run(steps)  # fmt: skip


def classification(
    seed: int, *, activation: str, gain: float, lr: float, steps: int, batch: int = 0, layers: int = 1
) -> Recorded:
    """Four clusters at different distances, cross-entropy, from a start near zero."""
    generator = torch.Generator().manual_seed(seed)
    count, width = 160, 5
    centres = torch.randn(4, width, generator=generator) * torch.tensor([[3.0], [2.0], [1.0], [0.6]])
    labels = torch.arange(count) % 4
    x = centres[labels] + 0.5 * torch.randn(count, width, generator=generator)
    sizes = (width, *[10] * layers, 4)
    _, loss, _ = perceptron(sizes, activation, cross_entropy)

    def drawn(step: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(count, (batch,), generator=generator)
        return x[rows], labels[rows]

    theta = start_of(sizes, gain, generator)
    return Training(
        theta, loss, (x, labels), batch=drawn if batch else None, lr=lambda step: lr,
        optimizer=lambda p: torch.optim.SGD(p, lr=lr),
    ).run(steps)  # fmt: skip


Made = Callable[[], Recorded]


def plans() -> Iterator[tuple[str, str, str, Made]]:
    """Name, family, what it is, and how to make it."""
    for seed, (gain, lr, steps, values) in enumerate(
        [(0.01, 0.005, 3500, (3.0, 1.5, 0.7)), (0.03, 0.006, 2500, (2.0, 1.0)), (0.003, 0.01, 3500, (1.0, 0.4)),
         (0.05, 0.008, 2500, (2.0, 0.8)), (0.001, 0.01, 3500, (1.0, 0.5)), (0.002, 0.02, 3500, (0.6, 0.2))]
    ):  # fmt: skip
        yield (
            f"tanh-{seed}", "tanh", f"tanh network on values {values}, start {gain}, all of the data",
            functools.partial(regression, seed + 200, activation="tanh", gain=gain, lr=lr, steps=steps, values=values),
        )  # fmt: skip
    for seed, (gain, lr, steps, batch, noise) in enumerate(
        [(0.01, 0.005, 3500, 16, 0.1), (0.03, 0.006, 3000, 8, 0.3), (0.02, 0.004, 4000, 32, 0.5),
         (0.05, 0.005, 3500, 16, 0.2), (0.01, 0.006, 3000, 4, 0.0), (0.02, 0.005, 3500, 16, 0.4)]
    ):  # fmt: skip
        yield (
            f"tanh-sgd-{seed}", "tanh-sgd", f"tanh network, start {gain}, batches of {batch} with target noise {noise}",
            functools.partial(regression, seed + 220, activation="tanh", gain=gain, lr=lr, steps=steps, batch=batch, noise=noise),
        )  # fmt: skip
    for seed, (gain, lr, steps, batch) in enumerate(
        [
            (0.01, 0.006, 3000, 0),
            (0.03, 0.005, 3000, 0),
            (0.003, 0.006, 3500, 16),
            (0.02, 0.005, 3000, 16),
            (0.05, 0.008, 2500, 0),
            (0.01, 0.006, 3000, 8),
        ]
    ):
        yield (
            f"relu-{seed}", "relu", f"ReLU network without biases, start {gain}, batch {batch or 'all'}",
            functools.partial(regression, seed + 240, activation="relu", gain=gain, lr=lr, steps=steps, batch=batch),
        )  # fmt: skip
    for seed, (gain, lr, steps, adam) in enumerate(
        [(0.01, 2e-4, 4000, True), (0.003, 3e-4, 4000, True), (0.01, 6e-4, 3000, False)]
    ):
        yield (
            f"tanh-{'adam' if adam else 'momentum'}-{seed}", "tanh-adaptive", f"tanh network, start {gain}, {'Adam' if adam else 'momentum 0.9'}",
            functools.partial(
                regression, seed + 260, activation="tanh", gain=gain, lr=lr, steps=steps, adam=adam,
                momentum=0.0 if adam else 0.9, every=20,
            ),
        )  # fmt: skip
    for seed, (activation, gain, lr, steps, batch, layers) in enumerate(
        [("tanh", 0.03, 0.05, 3000, 0, 1), ("relu", 0.05, 0.03, 3000, 0, 1), ("tanh", 0.05, 0.05, 3000, 16, 1),
         ("tanh", 0.4, 0.1, 4000, 0, 2), ("relu", 0.03, 0.05, 3000, 16, 1), ("tanh", 0.5, 0.05, 4000, 32, 2)]
    ):  # fmt: skip
        yield (
            f"clusters-{seed}", "clusters", f"{activation} network of {layers} hidden layers on clusters, start {gain}, batch {batch or 'all'}",
            functools.partial(classification, seed + 280, activation=activation, gain=gain, lr=lr, steps=steps, batch=batch, layers=layers),
        )  # fmt: skip


def runs() -> Iterator[Callable[[], Run]]:
    """One maker for each training."""
    for name, family, what, make in plans():

        def made(name: str = name, family: str = family, what: str = what, make: Made = make) -> Run:
            found = make()
            return Run(name, family, what, len(found.scalars), from_spectrum(found), attempts=[found.rows])

        made.__name__ = name
        yield made
