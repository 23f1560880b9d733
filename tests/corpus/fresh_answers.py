"""Grokking of families that no threshold has seen: other operations, groups, wider parities, and what never groks."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from .arithmetic import Task, parity, squared, trained
from .escapes import from_spectrum
from .networks import perceptron
from .run import Run
from .truth import from_accuracies, from_validation


def difference(p: int) -> Tensor:
    """(p, p): a - b (mod p)."""
    a, b = torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij")
    return (a - b) % p


def product(p: int) -> Tensor:
    """(p - 1, p - 1): a b (mod p) of what is not 0, counted from 0."""
    a, b = torch.meshgrid(torch.arange(1, p), torch.arange(1, p), indexing="ij")
    return (a * b) % p - 1


def permutations(n: int) -> Tensor:
    """(n!, n!): which permutation it is to do one after the other."""
    every = list(itertools.permutations(range(n)))
    place = {each: number for number, each in enumerate(every)}
    return torch.tensor([[place[tuple(b[i] for i in a)] for b in every] for a in every])


def dihedral(n: int) -> Tensor:
    """(2 n, 2 n): rotations and reflections of a polygon."""
    turn, flip = torch.arange(2 * n) % n, torch.arange(2 * n) // n
    sign = 1 - 2 * flip
    turns = (turn[:, None] + sign[:, None] * turn[None, :]) % n
    return turns + n * ((flip[:, None] + flip[None, :]) % 2)


def answers(
    seed: int, table: Tensor, *, share: float, hidden: int, activation: str = "square", mse: bool = False, shuffled: bool = False
) -> Task:  # fmt: skip
    """The table's entries from two one-hot vectors."""
    generator = torch.Generator().manual_seed(seed)
    n = len(table)
    a, b = torch.cartesian_prod(torch.arange(n), torch.arange(n)).unbind(1)
    x, y = torch.cat([one_hot(a, n), one_hot(b, n)], 1).float(), table.reshape(-1)
    y = y[torch.randperm(len(y), generator=generator)] if shuffled else y
    order = torch.randperm(len(y), generator=generator)
    train, val = order[: int(share * len(y))], order[int(share * len(y)) :]
    d, loss, outputs = perceptron(
        (2 * n, hidden, n), activation, squared if mse else cross_entropy, bias=False
    )
    theta = torch.randn(d, generator=generator)
    theta[: hidden * 2 * n] /= (2 * n) ** 0.5
    theta[hidden * 2 * n :] /= hidden**0.5
    return Task(theta, loss, outputs, (x[train], y[train]), (x[val], y[val]))


def plans() -> Iterator[tuple[str, str, Callable[[], Task], dict[str, float]]]:
    """Name, what it is, the task, and how it is trained."""
    tried: list[tuple[str, str, Tensor, dict[str, float], dict[str, float]]] = []

    def add(name: str, what: str, table: Tensor, task: dict[str, object], training: dict[str, float]) -> None:
        tried.append((name, what, table, task, training))  # type: ignore[arg-type]

    for number, (p, share, lr, decay, batch, mse) in enumerate(
        [
            (29, 0.55, 4e-3, 1.0, 0, False),
            (23, 0.65, 2e-3, 1.0, 0, False),
            (31, 0.5, 4e-3, 0.8, 128, False),
            (23, 0.7, 2e-3, 1.0, 0, True),
        ]
    ):
        add(f"difference-{number}", f"a - b mod {p}", difference(p), {"share": share, "hidden": 96, "mse": mse}, {"lr": lr, "decay": decay, "batch": batch, "steps": 3000 if number < 3 else 1800})  # fmt: skip
    for number, (p, share, lr, decay, activation) in enumerate(
        [(29, 0.6, 4e-3, 1.0, "square"), (31, 0.55, 3e-3, 1.0, "square"), (23, 0.7, 4e-3, 1.0, "relu")]
    ):
        add(f"product-{number}", f"a b mod {p}", product(p), {"share": share, "hidden": 96, "activation": activation}, {"lr": lr, "decay": decay})  # fmt: skip
    for number, (table, share, lr, decay) in enumerate(
        [(permutations(4), 0.75, 3e-3, 1.0), (dihedral(12), 0.65, 3e-3, 1.0), (dihedral(15), 0.6, 4e-3, 1.0)]
    ):
        add(
            f"group-{number}",
            f"a group of {len(table)}",
            table,
            {"share": share, "hidden": 128},
            {"lr": lr, "decay": decay},
        )
    for number, (table, share, decay, shuffled) in enumerate(
        [(difference(29), 0.5, 0.0, False), (permutations(4), 0.4, 0.2, False), (product(23), 0.6, 0.3, True)]
    ):
        add(f"hopeless-{number}", f"a table of {len(table)}{', shuffled' if shuffled else ''}", table, {"share": share, "hidden": 96, "shuffled": shuffled}, {"lr": 4e-3, "decay": decay})  # fmt: skip
    for number, (name, what, table, task, training) in enumerate(tried):
        words = f"{what}, {task}, {training}"
        yield name, words, functools.partial(answers, 1200 + number, table, **task), training  # type: ignore[arg-type]
    for number, (of, bits, count, hidden, lr, decay) in enumerate(
        [(2, 40, 300, 64, 5e-3, 0.5), (3, 18, 500, 96, 8e-3, 0.3), (4, 12, 700, 128, 1e-2, 0.3)]
    ):
        yield (
            f"bits-{number}", f"parity of {of} in {bits} bits, {count} examples, ReLU network of {hidden}, weight decay {decay}",
            functools.partial(parity, 1240 + number, bits=bits, count=count, hidden=hidden, of=of), {"lr": lr, "decay": decay},
        )  # fmt: skip


def runs() -> Iterator[Callable[[], Run]]:
    """One maker for each training."""
    for name, what, task, training in plans():

        def made(
            name: str = name,
            what: str = what,
            task: Callable[[], Task] = task,
            training: dict[str, float] = training,
        ) -> Run:
            found = trained(
                task(),
                steps=int(training.get("steps", 1800)),
                lr=training["lr"],
                decay=training["decay"],
                batch=int(training.get("batch", 0)),
                seed=len(name),
                eval_every=10,
                every=20,
            )
            events = [*from_spectrum(found), *from_accuracies(found), *from_validation(found)]
            return Run(name, name.rpartition("-")[0], what, len(found.scalars), events, attempts=[found.rows])

        made.__name__ = name
        yield made
