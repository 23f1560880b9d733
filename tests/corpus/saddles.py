"""Trainings that go from saddle to saddle, with modes known in closed form: linear networks, factorisations, quartics."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .escapes import from_modes
from .recorder import Recorded, Training, cut, size
from .run import Run

WIDTH = 7


def orthogonal(n: int, generator: torch.Generator) -> Tensor:
    """A random rotation."""
    turn: Tensor = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    return turn


def linear(
    seed: int, *, depth: int, values: Sequence[float], start: float, lr: float, steps: int,
    noise: float = 0.0, batch: int = 0, momentum: float = 0.0, every: int = 10,
) -> Recorded:  # fmt: skip
    """½|W_L…W_1 - T|² with the singular values of T given, or its minibatch form on white inputs with noisy targets."""
    generator = torch.Generator().manual_seed(seed)
    left, right = orthogonal(WIDTH, generator), orthogonal(WIDTH, generator)
    spectrum = torch.zeros(WIDTH, dtype=torch.float64)
    spectrum[: len(values)] = torch.tensor(values, dtype=torch.float64)
    target = left @ torch.diag(spectrum) @ right.T
    shapes = [(WIDTH, WIDTH)] * depth
    theta = start / math.sqrt(WIDTH) * torch.randn(size(*shapes), generator=generator, dtype=torch.float64)
    inputs = torch.linalg.qr(torch.randn(64, WIDTH, generator=generator, dtype=torch.float64))[0] * 8

    def product(flat: Tensor) -> Tensor:
        return functools.reduce(lambda map_, weight: weight @ map_, cut(flat, *shapes))

    def loss(flat: Tensor, part: Any) -> Tensor:
        x, y = part
        gap: Tensor = x @ product(flat).T - y
        return 0.5 * gap.square().sum(1).mean()

    clean = inputs, inputs @ target.T

    def drawn(step: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(64, (batch,), generator=generator)
        errors = noise * torch.randn(batch, WIDTH, generator=generator, dtype=torch.float64)
        return clean[0][rows], clean[1][rows] + errors

    def modes(flat: Tensor) -> list[float]:
        map_ = left.T @ product(flat) @ right
        return [float(map_[i, i]) / value for i, value in enumerate(values)]

    return Training(
        theta, loss, clean, batch=drawn if batch else None, lr=lambda step: lr, modes=modes, every=every,
        optimizer=lambda p: torch.optim.SGD(p, lr=lr, momentum=momentum),
    ).run(steps)  # fmt: skip


def factorised(
    seed: int, *, kind: str, values: Sequence[float], start: float, lr: float, steps: int, noise: float = 0.0
) -> Recorded:
    """½|UVᵀ - M|² ("asymmetric"), ¼|UUᵀ - M|² ("symmetric"), or the first with noise added to each gradient."""
    generator = torch.Generator().manual_seed(seed)
    n, rank = 8, len(values) + 1
    left, right = orthogonal(n, generator), orthogonal(n, generator)
    right = left if kind == "symmetric" else right
    target = (
        left[:, : len(values)]
        @ torch.diag(torch.tensor(values, dtype=torch.float64))
        @ right[:, : len(values)].T
    )
    shapes = [(n, rank)] * (1 if kind == "symmetric" else 2)
    theta = start * torch.randn(size(*shapes), generator=generator, dtype=torch.float64)

    def product(flat: Tensor) -> Tensor:
        pieces = cut(flat, *shapes)
        return pieces[0] @ pieces[-1].T

    def loss(flat: Tensor, part: Tensor) -> Tensor:
        gap = product(flat) - target
        forced = (part * flat).sum() if part.numel() > 1 else 0.0
        return (0.25 if kind == "symmetric" else 0.5) * gap.square().sum() + 0.01 + forced

    def modes(flat: Tensor) -> list[float]:
        map_ = left.T @ product(flat) @ right
        return [float(map_[i, i]) / value for i, value in enumerate(values)]

    def force(step: int) -> Tensor:
        return noise * torch.randn(theta.numel(), generator=generator, dtype=torch.float64)

    return Training(
        theta, loss, torch.zeros(1, dtype=torch.float64), batch=force if noise else None, lr=lambda step: lr, modes=modes
    ).run(steps)  # fmt: skip


def quartic(
    seed: int, *, rates: Sequence[float], start: float, lr: float, steps: int, noise: float = 0.0
) -> Recorded:
    """Σ c_i (x_i² - 1)²/4 in turned coordinates: each x_i leaves its saddle at 0 at the rate c_i."""
    generator = torch.Generator().manual_seed(seed)
    n = len(rates) + 4
    turn = orthogonal(n, generator)
    c = torch.tensor(rates, dtype=torch.float64)
    stiff = torch.linspace(0.5, 2.0, 4, dtype=torch.float64)
    x = start * (1 + torch.rand(n, generator=generator, dtype=torch.float64))
    theta = turn @ x

    def loss(flat: Tensor, part: Tensor) -> Tensor:
        y = turn.T @ flat
        wells = (c * (y[: len(c)].square() - 1).square()).sum() / 4
        return (
            wells
            + 0.5 * (stiff * y[len(c) :].square()).sum()
            + ((part * flat).sum() if part.numel() > 1 else 0.0)
            + 0.1
        )

    def force(step: int) -> Tensor:
        return noise * torch.randn(n, generator=generator, dtype=torch.float64)

    return Training(
        theta, loss, torch.zeros(1, dtype=torch.float64), batch=force if noise else None, lr=lambda step: lr,
        modes=lambda flat: [abs(float(v)) for v in (turn.T @ flat)[: len(c)]],
    ).run(steps)  # fmt: skip


def retrieval(
    seed: int, *, lr: float, start: float, steps: int, batch: int = 0, n: int = 12, m: int = 400
) -> Recorded:
    """Phase retrieval: find x from (aᵀx)²; 0 is a saddle with the signal as its way out."""
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(n, generator=generator, dtype=torch.float64)
    signal /= signal.norm()
    rows = torch.randn(m, n, generator=generator, dtype=torch.float64)
    seen = (rows @ signal).square()
    theta = start * torch.randn(n, generator=generator, dtype=torch.float64)

    def loss(flat: Tensor, part: Any) -> Tensor:
        a, y = part
        gap: Tensor = (a @ flat).square() - y
        return gap.square().mean() / 4

    def drawn(step: int) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(m, (batch,), generator=generator)
        return rows[chosen], seen[chosen]

    return Training(
        theta, loss, (rows, seen), batch=drawn if batch else None, lr=lambda step: lr,
        modes=lambda flat: [abs(float(flat @ signal))],
    ).run(steps)  # fmt: skip


def monkey(seed: int, *, lr: float, start: float, steps: int) -> Recorded:
    """x³ - 3xy² + (x² + y²)²/4, three ways down from a saddle without any curvature, beside six stiff directions."""
    generator = torch.Generator().manual_seed(seed)
    n = 8
    turn = orthogonal(n, generator)
    angle = 0.2 + 0.5 * float(torch.rand(1, generator=generator))
    x = torch.zeros(n, dtype=torch.float64)
    x[0], x[1] = start * math.cos(angle), start * math.sin(angle)
    x[2:] = 0.05 * torch.randn(n - 2, generator=generator, dtype=torch.float64)

    def loss(flat: Tensor, part: Tensor) -> Tensor:
        y = turn.T @ flat
        r2 = y[0] ** 2 + y[1] ** 2
        return y[0] ** 3 - 3 * y[0] * y[1] ** 2 + r2 * r2 / 4 + 0.5 * y[2:].square().sum() + 10

    return Training(
        turn @ x, loss, torch.zeros(1, dtype=torch.float64), lr=lambda step: lr,
        modes=lambda flat: [float((turn.T @ flat)[:2].norm()) / 3],
    ).run(steps)  # fmt: skip


Made = Callable[[], Recorded]


def plans() -> Iterator[tuple[str, str, str, Made]]:
    """Name, family, what it is, and how to make it."""
    for seed, (values, start, lr) in enumerate(
        [((3.0, 1.5, 0.75), 0.02, 0.006), ((4.0, 2.0), 0.003, 0.004), ((2.0, 1.0, 0.4), 0.05, 0.01),
         ((3.0, 1.2), 0.1, 0.006), ((5.0, 2.5, 1.0), 0.01, 0.004), ((2.0, 0.8), 0.001, 0.008)]
    ):  # fmt: skip
        steps = int(1.25 * math.log(values[-1] / start**2 * WIDTH) / (values[-1] * lr) / 2) + 900
        yield (
            f"linear2-{seed}", "linear2", f"linear network of depth 2, singular values {values}, start {start}",
            functools.partial(linear, seed, depth=2, values=values, start=start, lr=lr, steps=steps),
        )  # fmt: skip
    for seed, (values, start, lr, steps) in enumerate(
        [((3.0, 1.5), 0.35, 0.006, 2500), ((4.0, 2.0), 0.3, 0.004, 3000), ((2.0, 1.2), 0.4, 0.008, 3000)]
    ):
        yield (
            f"linear3-{seed}", "linear3", f"linear network of depth 3, singular values {values}, start {start}",
            functools.partial(linear, seed + 20, depth=3, values=values, start=start, lr=lr, steps=steps),
        )  # fmt: skip
    for seed, (values, start, lr, noise, batch) in enumerate(
        [((3.0, 1.5, 0.75), 0.02, 0.006, 0.1, 16), ((4.0, 1.5), 0.01, 0.004, 0.3, 8), ((2.0, 1.0), 0.05, 0.01, 0.2, 16),
         ((3.0, 1.2), 0.02, 0.006, 0.5, 16), ((2.0, 0.8), 0.02, 0.01, 0.1, 4), ((3.0, 1.0), 0.05, 0.006, 0.3, 32)]
    ):  # fmt: skip
        steps = int(1.25 * math.log(values[-1] / start**2 * WIDTH) / (values[-1] * lr) / 2) + 900
        yield (
            f"linear2-sgd-{seed}", "linear2-sgd",
            f"depth 2, singular values {values}, start {start}, batches of {batch} with target noise {noise}",
            functools.partial(linear, seed + 40, depth=2, values=values, start=start, lr=lr, steps=steps, noise=noise, batch=batch),
        )  # fmt: skip
    for seed, (values, start, lr) in enumerate(
        [((3.0, 1.5, 0.75), 0.01, 0.0006), ((2.0, 0.8), 0.02, 0.001), ((4.0, 2.0), 0.02, 0.0005)]
    ):
        steps = int(1.25 * math.log(values[-1] / start**2 * WIDTH) / (values[-1] * 10 * lr) / 2) + 900
        yield (
            f"linear2-momentum-{seed}", "linear2-momentum", f"depth 2, singular values {values}, momentum 0.9",
            functools.partial(linear, seed + 60, depth=2, values=values, start=start, lr=lr, steps=steps, momentum=0.9, every=20),
        )  # fmt: skip
    for seed, (kind, values, start, lr, noise, steps) in enumerate(
        [("asymmetric", (3.0, 1.5, 0.8), 1e-3, 0.006, 0.0, 2600), ("symmetric", (2.0, 1.0, 0.5), 1e-2, 0.01, 0.0, 2200),
         ("asymmetric", (2.0, 0.8), 1e-2, 0.008, 0.0, 1800), ("symmetric", (4.0, 2.0, 1.0), 1e-3, 0.004, 0.0, 3000),
         ("asymmetric", (3.0, 1.5), 1e-2, 0.006, 0.05, 1600), ("symmetric", (3.0, 1.5, 0.6), 1e-2, 0.006, 0.05, 2600)]
    ):  # fmt: skip
        yield (
            f"factor-{seed}", "factor", f"{kind} factorisation, values {values}, start {start}, gradient noise {noise}",
            functools.partial(factorised, seed + 80, kind=kind, values=values, start=start, lr=lr, steps=steps, noise=noise),
        )  # fmt: skip
    for seed, (rates, start, lr, noise, steps) in enumerate(
        [
            ((2.0, 1.0, 0.5), 1e-3, 0.005, 0.0, 4000),
            ((1.0, 0.4), 1e-2, 0.01, 0.0, 2500),
            ((2.0, 0.8), 1e-2, 0.006, 0.02, 2200),
        ]
    ):
        yield (
            f"quartic-{seed}", "quartic", f"double wells with rates {rates}, start {start}, gradient noise {noise}",
            functools.partial(quartic, seed + 100, rates=rates, start=start, lr=lr, steps=steps, noise=noise),
        )  # fmt: skip
    for seed, (start, lr, batch) in enumerate([(1e-3, 0.004, 0), (1e-2, 0.002, 0), (1e-3, 0.002, 64)]):
        yield (
            f"retrieval-{seed}", "retrieval", f"phase retrieval, start {start}, batch {batch or 'all'}",
            functools.partial(retrieval, seed + 120, start=start, lr=lr, batch=batch, steps=int(8 / lr)),
        )  # fmt: skip
    for seed, (start, lr) in enumerate([(0.05, 0.01), (0.02, 0.02), (0.1, 0.005)]):
        yield (
            f"monkey-{seed}", "monkey", f"monkey saddle, start {start}",
            functools.partial(monkey, seed + 140, start=start, lr=lr, steps=int(0.5 / (start * lr)) + 600),
        )  # fmt: skip


def runs() -> Iterator[Callable[[], Run]]:
    """One maker for each training."""
    for name, family, what, make in plans():

        def made(name: str = name, family: str = family, what: str = what, make: Made = make) -> Run:
            found = make()
            return Run(name, family, what, len(found.scalars), from_modes(found), attempts=[found.rows])

        made.__name__ = name
        yield made
