"""More landscapes whose saddles are known: principal components, matrix sensing, tensors, and heavier noise."""

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
from .saddles import linear, orthogonal


def components(
    seed: int, *, values: Sequence[float], start: float, lr: float, steps: int, batch: int = 0
) -> Recorded:
    """-½ xᵀAx + ¼|x|⁴: from a maximum or a saddle at 0 to the first principal component, past those of smaller value."""
    generator = torch.Generator().manual_seed(seed)
    n = len(values)
    turn = orthogonal(n, generator)
    scales = torch.tensor(values, dtype=torch.float64)
    data = torch.randn(600, n, generator=generator, dtype=torch.float64)
    data = torch.linalg.qr(data)[0] * 600**0.5 * scales.abs().sqrt() @ turn.T
    signs = turn @ torch.diag(scales.sign()) @ turn.T
    x = torch.randn(n, generator=generator, dtype=torch.float64)
    x[0] = 0.05 * x[0].sign()  # the first component starts last: the others are passed on the way
    theta = start * turn @ x

    def loss(flat: Tensor, part: Tensor) -> Tensor:
        seen: Tensor = part @ flat
        return (
            -0.5 * (seen * (part @ (signs @ flat))).mean()
            + 0.25 * flat.square().sum().square()
            + 3 * scales[0] ** 2 / 4
        )

    def drawn(step: int) -> Tensor:
        rows: Tensor = data[torch.randint(600, (batch,), generator=generator)]
        return rows

    length = math.sqrt(values[0])
    return Training(
        theta, loss, data, batch=drawn if batch else None, lr=lambda step: lr,
        modes=lambda flat: [abs(float((turn.T @ flat)[0])) / length],
    ).run(steps)  # fmt: skip


def sensing(
    seed: int, *, values: Sequence[float], start: float, lr: float, steps: int, batch: int = 0
) -> Recorded:
    """Find UUᵀ from random products with it, m of them, all or some at a step."""
    generator = torch.Generator().manual_seed(seed)
    n, rank, m = 6, len(values) + 1, 300
    turn = orthogonal(n, generator)
    scales = torch.tensor(values, dtype=torch.float64)
    target = turn[:, : len(values)] @ torch.diag(scales) @ turn[:, : len(values)].T
    looks = torch.randn(m, n, n, generator=generator, dtype=torch.float64)
    looks = (looks + looks.transpose(1, 2)) / 2
    seen = (looks * target).sum((1, 2))
    theta = start * torch.randn(n * rank, generator=generator, dtype=torch.float64)

    def loss(flat: Tensor, part: Any) -> Tensor:
        a, y = part
        (u,) = cut(flat, (n, rank))
        gap: Tensor = (a * (u @ u.T)).sum((1, 2)) - y
        return 0.25 * gap.square().mean()

    def drawn(step: int) -> Any:
        rows = torch.randint(m, (batch,), generator=generator)
        return looks[rows], seen[rows]

    def modes(flat: Tensor) -> list[float]:
        (u,) = cut(flat, (n, rank))
        map_ = turn.T @ u @ u.T @ turn
        return [float(map_[i, i]) / value for i, value in enumerate(values)]

    return Training(
        theta, loss, (looks, seen), batch=drawn if batch else None, lr=lambda step: lr, modes=modes
    ).run(steps)


def tensor(
    seed: int, *, values: Sequence[float], start: float, lr: float, steps: int, noise: float = 0.0
) -> Recorded:
    """½|Σ a⊗b⊗c - T|² with orthogonal components: from a degenerate saddle at 0, one component after the other."""
    generator = torch.Generator().manual_seed(seed)
    n, rank = 5, len(values) + 1
    turns = [orthogonal(n, generator) for _ in range(3)]
    scales = torch.tensor(values, dtype=torch.float64)
    target = torch.einsum("r,ir,jr,kr->ijk", scales, *(turn[:, : len(values)] for turn in turns))
    theta = start * torch.randn(size(*[(n, rank)] * 3), generator=generator, dtype=torch.float64)

    def loss(flat: Tensor, part: Tensor) -> Tensor:
        gap = torch.einsum("ir,jr,kr->ijk", *cut(flat, *[(n, rank)] * 3)) - target
        return 0.5 * gap.square().sum() + ((part * flat).sum() if part.numel() > 1 else 0.0) + 0.01

    def force(step: int) -> Tensor:
        return noise * torch.randn(theta.numel(), generator=generator, dtype=torch.float64)

    def modes(flat: Tensor) -> list[float]:
        whole = torch.einsum("ir,jr,kr->ijk", *cut(flat, *[(n, rank)] * 3))
        core = torch.einsum("ijk,ia,jb,kc->abc", whole, *turns)
        return [float(core[i, i, i]) / value for i, value in enumerate(values)]

    return Training(
        theta, loss, torch.zeros(1, dtype=torch.float64), batch=force if noise else None, lr=lambda step: lr, modes=modes
    ).run(steps)  # fmt: skip


Made = Callable[[], Recorded]


def plans() -> Iterator[tuple[str, str, str, Made]]:
    """Name, family, what it is, and how to make it."""
    for seed, (values, start, lr, steps, batch) in enumerate(
        [((2.0, -0.5, -1.0, -1.5), 1e-3, 0.005, 2500, 0), ((2.0, 1.0, -0.5, -1.0), 1e-2, 0.005, 2500, 0), ((1.5, 1.0, 0.5, -1.0, -1.0), 1e-3, 0.005, 4000, 64),
         ((3.0, 1.0, 1.0, 0.5), 1e-2, 0.003, 2500, 64), ((1.0, 0.5, -0.2, -1.0), 1e-3, 0.01, 2500, 0), ((2.0, 1.2, 0.8, -0.5), 1e-3, 0.005, 3000, 32)]
    ):  # fmt: skip
        yield (
            f"components-{seed}", "components", f"first of the components {values}, start {start}, batch {batch or 'all'}",
            functools.partial(components, seed + 600, values=values, start=start, lr=lr, steps=steps, batch=batch),
        )  # fmt: skip
    for seed, (values, start, lr, steps, batch) in enumerate(
        [((2.0, 1.0), 1e-2, 0.01, 2000, 0), ((3.0, 1.0, 0.5), 1e-3, 0.006, 4000, 0), ((2.0, 0.7), 1e-2, 0.01, 2500, 32),
         ((2.0, 0.8, 0.4), 1e-2, 0.01, 3500, 64), ((1.5, 0.6), 1e-3, 0.01, 3500, 16), ((3.0, 1.5), 1e-2, 0.005, 2500, 32)]
    ):  # fmt: skip
        yield (
            f"sensing-{seed}", "sensing", f"matrix sensing, values {values}, start {start}, batch {batch or 'all'}",
            functools.partial(sensing, seed + 620, values=values, start=start, lr=lr, steps=steps, batch=batch),
        )  # fmt: skip
    for seed, (values, start, lr, steps, noise) in enumerate(
        [((3.0, 1.5), 0.2, 0.01, 2500, 0.0), ((2.0, 1.0), 0.25, 0.01, 3000, 0.02), ((4.0, 2.0), 0.15, 0.006, 4000, 0.0),
         ((3.0, 1.0), 0.2, 0.008, 4000, 0.02), ((2.0, 1.2), 0.3, 0.008, 3000, 0.0), ((3.0, 1.8), 0.2, 0.008, 3000, 0.05)]
    ):  # fmt: skip
        yield (
            f"tensor-{seed}", "tensor", f"tensor of components {values}, start {start}, gradient noise {noise}",
            functools.partial(tensor, seed + 640, values=values, start=start, lr=lr, steps=steps, noise=noise),
        )  # fmt: skip
    for seed, (values, start, lr, noise, batch, momentum) in enumerate(
        [((3.0, 1.0), 0.02, 0.006, 1.0, 16, 0.0), ((2.0, 0.8), 0.02, 0.01, 1.0, 8, 0.0), ((3.0, 1.5), 0.03, 0.006, 1.5, 16, 0.0),
         ((2.0, 1.0), 0.02, 0.001, 0.5, 16, 0.9), ((4.0, 1.5), 0.02, 0.0005, 1.0, 16, 0.9), ((2.5, 1.0), 0.02, 0.008, 0.8, 8, 0.0)]
    ):  # fmt: skip
        scale = 10 if momentum else 1
        steps = int(1.25 * math.log(values[-1] / start**2 * 7) / (values[-1] * lr * scale) / 2) + 700
        yield (
            f"loud-{seed}", "loud", f"linear network of depth 2, values {values}, batches of {batch}, target noise {noise}, momentum {momentum}",
            functools.partial(linear, seed + 660, depth=2, values=values, start=start, lr=lr, steps=steps, noise=noise, batch=batch, momentum=momentum),
        )  # fmt: skip


def runs() -> Iterator[Callable[[], Run]]:
    """One maker for each training."""
    for name, family, what, make in plans():

        def made(name: str = name, family: str = family, what: str = what, make: Made = make) -> Run:
            found = make()
            return Run(name, family, what, len(found.scalars), from_modes(found), attempts=[found.rows])

        made.__name__ = name
        yield made
