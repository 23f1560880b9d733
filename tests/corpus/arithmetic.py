"""Modular addition and sparse parity: what groks, and what memorises for ever."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from .escapes import from_spectrum
from .networks import perceptron, start_of
from .recorder import LossFn, Recorded, Training
from .run import Run
from .truth import from_accuracies, from_validation

Data = tuple[Tensor, Tensor]


@dataclass
class Task:
    """A network with what it trains on and what it is tested on."""

    theta: Tensor
    loss: LossFn
    outputs: Callable[[Tensor, Tensor], Tensor]
    train: Data
    val: Data

    def evaluate(self, theta: Tensor, step: int) -> dict[str, float]:
        """Accuracy on both, and the loss on what it has not seen."""
        with torch.no_grad():
            seen, unseen = self.outputs(theta, self.train[0]), self.outputs(theta, self.val[0])
            return {
                "train/acc": right(seen, self.train[1]),
                "val/acc": right(unseen, self.val[1]),
                "val/loss": float(self.loss(theta, self.val)),
            }


def right(outputs: Tensor, labels: Tensor) -> float:
    """Share of the largest outputs that are the label's."""
    return float((outputs.argmax(1) == labels).double().mean())


def squared(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean squared distance to the one-hot label, times the number of classes."""
    return (outputs - one_hot(labels, outputs.shape[1])).square().sum(1).mean()


def addition(
    seed: int, *, p: int, hidden: int = 128, share: float = 0.5, activation: str = "square", mse: bool = False, gain: float = 1.0,
    shuffled: bool = False,
) -> Task:  # fmt: skip
    """a + b (mod p) from two one-hot vectors; ``shuffled`` makes the answers random."""
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.cartesian_prod(torch.arange(p), torch.arange(p)).unbind(1)
    x = torch.cat([one_hot(a, p), one_hot(b, p)], 1).float()
    y = (a + b) % p
    y = y[torch.randperm(len(y), generator=generator)] if shuffled else y
    order = torch.randperm(len(y), generator=generator)
    train, val = order[: int(share * len(y))], order[int(share * len(y)) :]
    d, loss, outputs = perceptron(
        (2 * p, hidden, p), activation, squared if mse else cross_entropy, bias=False
    )
    theta = torch.randn(d, generator=generator)
    theta[: hidden * 2 * p] *= gain / (2 * p) ** 0.5
    theta[hidden * 2 * p :] *= gain / hidden**0.5
    return Task(theta, loss, outputs, (x[train], y[train]), (x[val], y[val]))


def parity(
    seed: int,
    *,
    bits: int,
    count: int,
    hidden: int = 64,
    activation: str = "relu",
    gain: float = 1.0,
    of: int = 3,
) -> Task:
    """The parity of the first three (``of``) of several bits."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 2, (count + 600, bits), generator=generator).float() * 2 - 1
    y = (x[:, :of].prod(1) > 0).long()
    _, loss, outputs = perceptron((bits, hidden, 2), activation, cross_entropy)
    theta = start_of((bits, hidden, 2), gain, generator)
    return Task(theta, loss, outputs, (x[:count], y[:count]), (x[count:], y[count:]))


def trained(
    task: Task,
    *,
    steps: int,
    lr: float,
    decay: float,
    batch: int = 0,
    seed: int = 0,
    eval_every: int = 10,
    every: int = 20,
    betas: tuple[float, float] = (0.9, 0.98),
) -> Recorded:
    """With AdamW; ``decay`` is its weight decay."""
    generator = torch.Generator().manual_seed(seed + 1)
    x, y = task.train

    def drawn(step: int) -> Any:
        rows = torch.randint(len(y), (batch,), generator=generator)
        return x[rows], y[rows]

    return Training(
        task.theta, task.loss, task.train, batch=drawn if batch else None, lr=lambda step: lr, every=every,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=lr, weight_decay=decay, betas=betas),
        evaluate=task.evaluate, eval_every=eval_every,
    ).run(steps)  # fmt: skip


Made = Callable[[], Recorded]


def later(
    task: Callable[[], Task], steps: int, lr: float, decay: float, batch: int = 0, seed: int = 0
) -> Callable[[], Recorded]:
    """The training of a task that is not made yet."""
    return lambda: trained(task(), steps=steps, lr=lr, decay=decay, batch=batch, seed=seed)


def plans() -> Iterator[tuple[str, str, str, Made]]:
    """Name, family, what it is, and how to make it."""
    tried = [
        (31, 128, 0.5, 4e-3, 1.0, 0, False, "square", 2500),
        (29, 128, 0.5, 4e-3, 1.0, 0, False, "square", 2500),
        (23, 128, 0.6, 1e-3, 1.0, 0, False, "square", 6000),
        (31, 128, 0.5, 1e-3, 1.0, 0, False, "square", 6000),
        (29, 128, 0.55, 4e-3, 0.7, 128, False, "square", 3000),
        (31, 128, 0.5, 1e-3, 1.1, 0, True, "square", 5000),
        (23, 128, 0.65, 1e-3, 0.5, 128, True, "square", 5000),
        (31, 128, 0.6, 4e-3, 1.0, 0, False, "relu", 3500),
        (29, 128, 0.65, 4e-3, 1.0, 0, False, "relu", 3500),
        (31, 96, 0.45, 4e-3, 1.0, 0, False, "square", 4000),
        (37, 128, 0.45, 3e-3, 1.0, 0, False, "square", 3500),
        (31, 128, 0.5, 1e-3, 0.7, 256, False, "square", 6000),
        (29, 128, 0.5, 1e-3, 0.8, 0, True, "square", 6000),
        (23, 128, 0.7, 3e-3, 1.0, 0, True, "relu", 3500),
        (31, 160, 0.55, 7e-4, 1.0, 0, False, "square", 6000),
        (37, 128, 0.5, 1e-3, 0.7, 256, True, "square", 5000),
        (29, 128, 0.6, 3e-3, 1.1, 128, False, "relu", 4000),
        (31, 128, 0.55, 4e-3, 0.8, 0, False, "square", 2500),
    ]
    for seed, (p, hidden, share, lr, decay, batch, mse, activation, steps) in enumerate(tried):
        yield (
            f"addition-{seed:02}", "addition",
            (f"a + b mod {p}, {activation} network of {hidden}, {share:.0%} of the pairs, {'MSE' if mse else 'cross-entropy'}, "
            f"AdamW {lr}, weight decay {decay}, batch {batch or 'all'}"),
            later(
                functools.partial(addition, seed + 300, p=p, hidden=hidden, share=share, activation=activation, mse=mse),
                steps, lr, decay, batch, seed,
            ),
        )  # fmt: skip
    for seed, (bits, count, hidden, lr, decay, batch, activation, steps) in enumerate(
        [(20, 700, 128, 1e-2, 0.3, 0, "relu", 3000), (24, 900, 128, 1e-2, 0.3, 0, "relu", 3000), (16, 450, 128, 5e-3, 0.3, 0, "relu", 4000),
         (20, 600, 128, 5e-3, 0.3, 0, "relu", 4000), (20, 700, 128, 5e-3, 0.3, 128, "relu", 4000), (16, 400, 96, 1e-2, 0.2, 0, "relu", 4000),
         (20, 500, 64, 4e-3, 1.0, 0, "relu", 3000), (16, 300, 64, 4e-3, 1.0, 0, "relu", 3000), (20, 600, 64, 3e-3, 1.0, 64, "relu", 4000)]
    ):  # fmt: skip
        yield (
            f"parity-{seed}", "parity", f"parity of 3 in {bits} bits, {count} examples, {activation} network of {hidden}, weight decay {decay}, batch {batch or 'all'}",
            later(
                functools.partial(parity, seed + 340, bits=bits, count=count, hidden=hidden, activation=activation),
                steps, lr, decay, batch, seed,
            ),
        )  # fmt: skip
    never: list[tuple[str, Callable[[], Task], float]] = [
        ("a + b mod 29 without weight decay", functools.partial(addition, 360, p=29), 0.0),
        ("a + b mod 31, a quarter of the pairs", functools.partial(addition, 361, p=31, share=0.25), 0.3),
        ("random answers mod 23", functools.partial(addition, 362, p=23, shuffled=True), 1.0),
        ("random answers mod 31", functools.partial(addition, 363, p=31, shuffled=True, share=0.6), 0.3),
        ("parity of 3 in 24 bits, 100 examples", functools.partial(parity, 364, bits=24, count=100), 0.1),
        (
            "a + b mod 37, 30 % of the pairs",
            functools.partial(addition, 365, p=37, share=0.3, activation="relu"),
            0.1,
        ),
    ]
    for seed, (what, task, decay) in enumerate(never):
        yield f"never-{seed}", "never", what, later(task, 3000, 4e-3, decay)


def runs() -> Iterator[Callable[[], Run]]:
    """One maker for each training."""
    for name, family, what, make in plans():

        def made(name: str = name, family: str = family, what: str = what, make: Made = make) -> Run:
            found = make()
            events = [*from_spectrum(found), *from_accuracies(found), *from_validation(found)]
            return Run(name, family, what, len(found.scalars), events, attempts=[found.rows])

        made.__name__ = name
        yield made
