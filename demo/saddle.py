"""Saddles: a deep linear network learns one singular value of its target after the other, from saddle to saddle.

From a small start the loss is a staircase. On each plateau the network waits at a saddle; the way out is the direction
of the next singular value s, and there the curvature is known in closed form: the most negative eigenvalue of the
Hessian is -s, the largest is twice the first singular value once that one is learned (two layers, white inputs; Saxe
et al. 2014, arXiv:1312.6120). So what the sharpness panel shows can be checked by eye.

    python -m lsmon.demo.saddle          and, beside it:        lsmon
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lsmon.probe import Probe

WIDTH = 128  # inputs, hidden units and outputs; sets how long a step takes
SINGULAR_VALUES = (
    4.0,
    2.0,
    1.0,
)  # of the target map: three stairs; λ_min is about -4, -2, -1 before each of them
EXAMPLES = 512  # with exactly white inputs, all of them the reference batch of the curvature
BATCH = 256
TARGET_NOISE = 0.02  # fresh in each batch: the temperature stays on after the last stair
START = 0.003  # size of the initial weights, relative to 1/√WIDTH: the smaller, the longer the plateaus
STEPS = 28_000  # about a minute on one core
LR = 2.5e-4  # small, so that each escape takes seconds
PRINT_EVERY = 1000
BUDGET = (
    0.2  # of the run's time for the probe: curvature several times on each plateau, though plateaus are short
)
SEED = 0

Batch = tuple[Tensor, Tensor]  # inputs and targets, each (n, WIDTH)


def orthogonal(rows: int, columns: int) -> Tensor:
    """A random matrix with orthonormal columns."""
    return torch.linalg.qr(torch.randn(rows, columns))[0]


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    inputs, targets = batch
    return (model(inputs) - targets).square().sum(1).mean() / 2


def learned(model: nn.Sequential, target: Tensor) -> int:
    """How many singular values of the target the network's own map has by now, to within half of their size."""
    product = torch.eye(WIDTH)
    for weight in model.parameters():
        product = weight.detach() @ product
    reached = torch.linalg.svdvals(product)
    return sum(bool(reached[i] > s / 2) for i, s in enumerate(SINGULAR_VALUES))


def main(steps: int = STEPS) -> None:
    torch.set_num_threads(1)  # the second core is for whoever watches
    torch.manual_seed(SEED)

    rank = len(SINGULAR_VALUES)
    target = orthogonal(WIDTH, rank) @ torch.diag(torch.tensor(SINGULAR_VALUES)) @ orthogonal(WIDTH, rank).T
    inputs = orthogonal(EXAMPLES, WIDTH) * EXAMPLES**0.5
    clean = (inputs, inputs @ target.T)

    model = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False))
    for weight in model.parameters():
        nn.init.normal_(weight, std=START / WIDTH**0.5)
    optimizer = torch.optim.SGD(model.parameters(), LR)

    escapes: list[int] = []
    with Probe(model, optimizer, loss_fn, name="saddle", reference=clean, budget=BUDGET) as probe:
        for step in range(1, steps + 1):
            rows = torch.randint(EXAMPLES, (BATCH,))
            batch = (clean[0][rows], clean[1][rows] + TARGET_NOISE * torch.randn(BATCH, WIDTH))
            loss = loss_fn(model, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            probe.step(loss, batch)

            if step % 50 == 0 and learned(model, target) > len(escapes):
                escapes.append(step)
                probe.mark(f"singular value {SINGULAR_VALUES[len(escapes) - 1]:g} learned")
            if step % PRINT_EVERY == 0:
                print(
                    f"step {step:6d}  loss {loss.item():8.4f}  learned {len(escapes)} of {rank} singular values"
                )

    stairs = ", ".join(f"{s:g} at step {step}" for s, step in zip(SINGULAR_VALUES, escapes, strict=False))
    print(
        f"learned singular values: {stairs or 'none'}; loss {loss_fn(model, clean).item():.4f} after {steps} steps"
    )


if __name__ == "__main__":
    main()
