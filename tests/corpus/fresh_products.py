"""Saddles of families that no threshold has seen: deeper and wider maps, tied weights, tensors, completion."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .escapes import from_modes, from_spectrum
from .networks import squares
from .recorder import Recorded, Training, cut
from .run import Event, Run
from .saddles import orthogonal, retrieval

Double = functools.partial(torch.randn, dtype=torch.float64)


def some(
    batch: int, generator: torch.Generator, *data: Tensor, noise: float = 0.0
) -> Callable[[int], Any] | None:
    """Batches drawn from the rows of these, the last with noise; None for all of them at each step."""

    def drawn(step: int) -> Any:
        rows = torch.randint(len(data[0]), (batch,), generator=generator)
        *inputs, targets = (part[rows] for part in data)
        if noise:
            targets = targets + noise * torch.randn(targets.shape, generator=generator, dtype=targets.dtype)
        return (*inputs, targets)

    return drawn if batch else None


def sgd(lr: float, momentum: float = 0.0) -> Callable[[list[Tensor]], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, momentum=momentum)


def chain(
    seed: int, *, widths: Sequence[int], values: Sequence[float], start: float, lr: float, steps: int, batch: int = 0,
    noise: float = 0.0, momentum: float = 0.0, every: int = 20,
) -> Recorded:  # fmt: skip
    """A linear network with layers of these widths on white inputs; the target has the singular values given."""
    generator = torch.Generator().manual_seed(seed)
    rank = len(values)
    left, right = orthogonal(widths[-1], generator)[:, :rank], orthogonal(widths[0], generator)[:, :rank]
    x = torch.linalg.qr(Double(96, widths[0], generator=generator))[0] * math.sqrt(96)
    y = x @ (left * torch.tensor(values, dtype=torch.float64) @ right.T).T
    shapes = [(after, before) for before, after in itertools.pairwise(widths)]
    theta = torch.cat(
        [(start / math.sqrt(shape[1]) * Double(*shape, generator=generator)).reshape(-1) for shape in shapes]
    )

    def product(flat: Tensor) -> Tensor:
        return functools.reduce(lambda map_, weight: weight @ map_, cut(flat, *shapes))

    def loss(flat: Tensor, part: Any) -> Tensor:
        return squares(part[0] @ product(flat).T, part[1])

    def modes(flat: Tensor) -> list[float]:
        return [
            float(value) / goal
            for value, goal in zip((left.T @ product(flat) @ right).diagonal(), values, strict=True)
        ]

    return Training(
        theta, loss, (x, y), batch=some(batch, generator, x, y, noise=noise), lr=lambda step: lr, modes=modes,
        optimizer=sgd(lr, momentum), every=every,
    ).run(steps)  # fmt: skip


def tied(
    seed: int, *, variances: Sequence[float], hidden: int, start: float, lr: float, steps: int, batch: int = 0
) -> Recorded:
    """½|WᵀWx - x|², an autoencoder with tied weights: it learns one principal component after the other."""
    generator = torch.Generator().manual_seed(seed)
    n = len(variances)
    turn = orthogonal(n, generator)
    scales = torch.tensor(variances, dtype=torch.float64).sqrt()
    x = torch.linalg.qr(Double(120, n, generator=generator))[0] * math.sqrt(120) * scales @ turn.T
    theta = start * Double(hidden * n, generator=generator)

    def loss(flat: Tensor, part: Any) -> Tensor:
        (weight,) = cut(flat, (hidden, n))
        return squares(part[0] @ weight.T @ weight, part[1])

    def modes(flat: Tensor) -> list[float]:
        (weight,) = cut(flat, (hidden, n))
        return [float(value) for value in (turn.T @ weight.T @ weight @ turn).diagonal()[:hidden]]

    return Training(
        theta, loss, (x, x), batch=some(batch, generator, x, x), lr=lambda step: lr, modes=modes, optimizer=sgd(lr), every=20
    ).run(steps)  # fmt: skip


def symmetric(
    seed: int, *, order: int, values: Sequence[float], start: float, lr: float, steps: int, noise: float = 0.0
) -> Recorded:
    """½|Σ a⊗…⊗a - T|² of order three or four, with orthogonal components."""
    generator = torch.Generator().manual_seed(seed)
    n, rank = 5, len(values) + 2
    turn = orthogonal(n, generator)
    form = {3: "ri,rj,rk->ijk", 4: "ri,rj,rk,rl->ijkl"}[order]
    parts = turn.T[: len(values)]
    target = torch.einsum("r," + form, torch.tensor(values, dtype=torch.float64), *[parts] * order)
    theta = start * Double(rank * n, generator=generator)

    def whole(flat: Tensor) -> Tensor:
        made: Tensor = torch.einsum(form, *cut(flat, (rank, n)) * order)
        return made

    def loss(flat: Tensor, part: Tensor) -> Tensor:
        return (
            0.5 * (whole(flat) - target).square().sum()
            + ((part * flat).sum() if part.numel() > 1 else 0.0)
            + 0.01
        )

    def force(step: int) -> Tensor:
        return noise * Double(theta.numel(), generator=generator)

    def modes(flat: Tensor) -> list[float]:
        made = whole(flat)
        for _ in range(order):
            made = torch.tensordot(made, turn, dims=([0], [0]))
        return [float(made[(i,) * order]) / value for i, value in enumerate(values)]

    return Training(
        theta, loss, torch.zeros(1, dtype=torch.float64), batch=force if noise else None, lr=lambda step: lr, modes=modes,
        optimizer=sgd(lr), every=20,
    ).run(steps)  # fmt: skip


def completion(
    seed: int, *, values: Sequence[float], share: float, start: float, lr: float, steps: int
) -> Recorded:
    """½|UVᵀ - M|² over a part of the entries of M."""
    generator = torch.Generator().manual_seed(seed)
    n, rank = 9, len(values) + 1
    left, right = orthogonal(n, generator)[:, : len(values)], orthogonal(n, generator)[:, : len(values)]
    target = left * torch.tensor(values, dtype=torch.float64) @ right.T
    seen = (torch.rand(n, n, generator=generator) < share).double()
    theta = start * Double(2 * n * rank, generator=generator)

    def loss(flat: Tensor, part: Tensor) -> Tensor:
        left_, right_ = cut(flat, (n, rank), (n, rank))
        return 0.5 * (part * (left_ @ right_.T - target)).square().sum() / share + 0.01

    return Training(theta, loss, seen, lr=lambda step: lr, optimizer=sgd(lr), every=20).run(steps)


Truth = Callable[[Recorded], list[Event]]
Planned = tuple[str, str, Truth, Callable[[], Recorded]]
"""Name, what it is, where its truth is from, and how to make it."""


def plans() -> Iterator[Planned]:
    """Name, what it is, where its truth is from, and how to make it."""
    chains: list[tuple[Sequence[int], Sequence[float], float, float, int, dict[str, Any]]] = (
        [((6, 6, 6, 6, 6), (3.0, 1.8), 0.75, 0.004, 2500, {"every": 10}), ((5, 8, 8, 8, 5), (2.5, 1.2), 0.8, 0.004, 3500, {"every": 10}),
         ((6, 6, 6, 6, 6), (4.0, 2.0), 0.7, 0.003, 3000, {"batch": 24, "noise": 0.2, "every": 10}),
         ((9, 16, 4), (3.0, 1.3, 0.6), 0.02, 0.006, 2600, {"every": 10}), ((9, 16, 4), (2.0, 0.9), 0.003, 0.01, 2200, {"batch": 16, "noise": 0.3, "every": 10}),
         ((5, 12, 6), (4.0, 1.6, 0.7), 0.01, 0.0005, 2600, {"momentum": 0.9}),
         ((8, 10, 5), (2.5, 1.0), 0.03, 0.006, 2000, {"batch": 8, "noise": 0.6}), ((6, 9, 9, 6), (3.0, 1.4), 0.4, 0.005, 2600, {"batch": 16, "noise": 0.3})]
    )  # fmt: skip
    for number, (widths, values, start, lr, steps, more) in enumerate(chains):
        yield (
            f"chain-{number}", f"linear network of widths {widths}, singular values {values}, start {start} {more or ''}", from_modes,
            functools.partial(chain, 1000 + number, widths=widths, values=values, start=start, lr=lr, steps=steps, **more),
        )  # fmt: skip
    for number, (variances, hidden, start, lr, steps, batch) in enumerate(
        [((3.0, 1.2, 0.5, 0.1, 0.1), 3, 1e-3, 0.01, 2600, 0), ((2.0, 0.8, 0.3, 0.1, 0.05, 0.05), 2, 1e-2, 0.012, 1600, 0),
         ((2.5, 1.0, 0.4, 0.1, 0.1), 3, 1e-2, 0.008, 2600, 24), ((4.0, 1.5, 0.6, 0.2), 2, 1e-4, 0.005, 2400, 16)]
    ):  # fmt: skip
        yield (
            f"tied-{number}", f"tied autoencoder, variances {variances}, {hidden} hidden, start {start}, batch {batch or 'all'}", from_modes,
            functools.partial(tied, 1020 + number, variances=variances, hidden=hidden, start=start, lr=lr, steps=steps, batch=batch),
        )  # fmt: skip
    for number, (order, values, start, lr, steps, noise) in enumerate(
        [(3, (3.0, 1.5), 0.1, 0.005, 2500, 0.0), (4, (2.0, 1.0), 0.35, 0.005, 2500, 0.0), (3, (2.0, 1.0), 0.12, 0.008, 2500, 0.02),
         (4, (3.0, 1.5), 0.3, 0.003, 2500, 0.02)]
    ):  # fmt: skip
        yield (
            f"symmetric-{number}", f"symmetric tensor of order {order}, components {values}, start {start}, gradient noise {noise}", from_modes,
            functools.partial(symmetric, 1040 + number, order=order, values=values, start=start, lr=lr, steps=steps, noise=noise),
        )  # fmt: skip
    for number, (n, m, start, lr, batch) in enumerate(
        [(20, 500, 1e-3, 0.003, 0), (6, 200, 1e-4, 0.003, 32), (30, 700, 1e-2, 0.002, 0)]
    ):
        yield (
            f"phase-{number}", f"phase retrieval in {n} dimensions from {m} intensities, start {start}, batch {batch or 'all'}", from_modes,
            functools.partial(retrieval, 1060 + number, n=n, m=m, start=start, lr=lr, batch=batch, steps=int(8 / lr)),
        )  # fmt: skip
    for number, (values, share, start, lr, steps) in enumerate(
        [
            ((3.0, 1.5), 0.7, 1e-3, 0.006, 2500),
            ((4.0, 1.6, 0.8), 0.8, 1e-2, 0.005, 2800),
            ((2.5, 1.0), 0.6, 1e-2, 0.008, 2200),
        ]
    ):
        yield (
            f"completion-{number}", f"matrix completion, values {values}, {share:.0%} of the entries, start {start}", from_spectrum,
            functools.partial(completion, 1080 + number, values=values, share=share, start=start, lr=lr, steps=steps),
        )  # fmt: skip


def makers(planned: Iterable[Planned]) -> Iterator[Callable[[], Run]]:
    """One maker for each training."""
    for name, what, truth, make in planned:

        def made(
            name: str = name, what: str = what, truth: Truth = truth, make: Callable[[], Recorded] = make
        ) -> Run:
            found = make()
            family = name.rpartition("-")[0]
            return Run(name, family, what, len(found.scalars), truth(found), attempts=[found.rows])

        made.__name__ = name
        yield made


def runs() -> Iterator[Callable[[], Run]]:
    """One maker for each training."""
    return makers(plans())
