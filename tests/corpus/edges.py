"""The edge of stability under four optimizers, each with its own, and trainings that never come there.

The ratio is exact: the largest eigenvalue of the dense Hessian on all data, for Adam of P^½ H P^½, over the edge of the
optimizer in closed form (Cohen et al. 2021, arXiv:2103.00065; 2022, arXiv:2207.14484).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from .breakdowns import named
from .classifiers import Made, Schedule, constant, stairs
from .escapes import from_spectrum
from .networks import perceptron, squares, start_of
from .recorder import LossFn, Training
from .run import Event, Run
from .truth import from_edge

EVERY = 20
"""Steps between two measurements."""

BETA, BETA2, EPS = 0.9, 0.999, 1e-8
"""Of Adam."""


@dataclass
class Edge:
    """An optimizer, and the sharpness above which it diverges on a quadratic: ``limit`` / learning rate."""

    make: Callable[[list[Tensor]], torch.optim.Optimizer]
    limit: float
    adaptive: bool = False


def gradient_descent(momentum: float = 0.0, nesterov: bool = False) -> Edge:
    """2/η, 2(1+μ)/η, and 2(1+μ)/((1+2μ)η)."""
    limit = 2 * (1 + momentum) / (1 + 2 * momentum if nesterov else 1)
    return Edge(lambda p: torch.optim.SGD(p, 0.1, momentum=momentum, nesterov=nesterov), limit)


def adam() -> Edge:
    """2(1+β)/((1-β)η) for P^½ H P^½."""
    return Edge(lambda p: torch.optim.Adam(p, 0.1, (BETA, BETA2), EPS), 2 * (1 + BETA) / (1 - BETA), True)


def sharpness(
    loss: LossFn, data: object, theta: Tensor, optimizer: torch.optim.Optimizer, edge: Edge
) -> float:
    """λ_max as this optimizer feels it."""
    hessian = torch.func.hessian(loss)(theta, data).double()
    if edge.adaptive:
        state = optimizer.state[optimizer.param_groups[0]["params"][0]]
        if not state:
            return math.nan
        seen = state["exp_avg_sq"].double() / (1 - BETA2 ** float(state["step"]))
        root = (seen.sqrt() + EPS).rsqrt()
        hessian = root[:, None] * hessian * root
    if not hessian.isfinite().all():
        return math.nan
    return float(torch.linalg.eigvalsh(hessian)[-1])


def descent(
    name: str, seed: int, lr: Schedule, edge: Edge, sizes: Sequence[int], steps: int, batch: int = 0
) -> Run:  # fmt: skip
    """A tanh network on labels of a linear teacher, squared distances."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(200, sizes[0], generator=generator)
    y = one_hot((x @ torch.randn(sizes[0], sizes[-1], generator=generator)).argmax(1)).float()
    _, loss, _ = perceptron(sizes, "tanh", squares)
    ratios: dict[int, float] = {}

    def look(step: int, optimizer: torch.optim.Optimizer, theta: Tensor) -> None:
        if step % EVERY == 0:
            felt = sharpness(loss, (x, y), theta.detach(), optimizer, edge)
            ratios[step] = felt * lr(step) / edge.limit

    def drawn(step: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(x), (batch,), generator=generator)
        return x[rows], y[rows]

    found = Training(
        start_of(sizes, 1.0, generator), loss, (x, y), batch=drawn if batch else None, lr=lr, optimizer=edge.make, every=EVERY,
        before=look,
    ).run(steps)  # fmt: skip
    for step, values in found.scalars:
        if math.isfinite(ratios.get(step, math.nan)):
            values |= {"stability/ratio": ratios[step], "hessian/edge": edge.limit / lr(step)}
    what = f"{'batches of ' + str(batch) if batch else 'all of the data'}, learning rate {lr(0)}, edge {edge.limit:.3g}/η"
    events = [*from_spectrum(found), *from_edge(found)]
    bad = [step for step, values in found.scalars if not all(map(math.isfinite, values.values()))]
    if bad:  # beyond the edge
        events.append(Event("nonfinite", bad[0], bad[0], bad[0] + 20))
    return Run(name, "threshold", what, steps, events, ["plateau_left", "loss_spike"], attempts=[found.rows])


SIZES = (6, 14, 3)


def plans() -> Iterator[tuple[str, Made]]:
    """Name, and how to make the run."""
    plain, heavy, nesterov = gradient_descent(), gradient_descent(0.9), gradient_descent(0.9, nesterov=True)
    tried: list[tuple[Schedule, Edge, Sequence[int], int]] = [
        (constant(1.0), plain, SIZES, 0), (constant(1.3), plain, SIZES, 0), (constant(1.2), plain, (6, 8, 8, 3), 0),
        (constant(1.1), heavy, SIZES, 0), (constant(0.9), heavy, (5, 16, 3), 0), (constant(1.2), heavy, (6, 8, 8, 3), 0),
        (constant(0.42), nesterov, SIZES, 0), (constant(0.5), nesterov, (5, 16, 3), 0),
        (constant(0.05), adam(), SIZES, 0), (constant(0.04), adam(), (5, 16, 3), 0), (constant(0.08), adam(), SIZES, 0),
        (stairs(1.0, 700), plain, (5, 16, 3), 0), (constant(0.05), plain, SIZES, 0), (constant(1e-3), adam(), SIZES, 0),
        (constant(0.2), plain, SIZES, 8), (constant(0.02), heavy, (6, 8, 8, 3), 16), (constant(0.06), adam(), (6, 8, 8, 3), 0),
        (constant(0.1), adam(), (5, 16, 3), 0), (constant(0.9), plain, (5, 16, 3), 0), (constant(1.1), plain, (6, 8, 8, 3), 0),
    ]  # fmt: skip
    for number, (lr, edge, sizes, batch) in enumerate(tried):
        name = f"threshold-{number:02}"
        yield name, functools.partial(descent, name, 1600 + number, lr, edge, sizes, 1200, batch)


def runs() -> Iterator[Made]:
    """One maker for each training."""
    for name, make in plans():
        yield named(name, functools.partial(make))
