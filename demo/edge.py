"""The edge of stability: gradient descent sharpens its own valley until steps of this length can just be borne.

A step of size η along a direction of curvature λ multiplies what lies there by 1 - ηλ, so beyond λ = 2/η it should blow
up. Full-batch training walks up to that edge by itself and then stays there, while the loss goes on falling, no longer
at every step (Cohen et al. 2021, arXiv:2103.00065). Here the edge is known: 2 / LR.

    python -m lsmon.demo.edge            and, beside it:        lsmon
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from lsmon.probe import Probe

CLASSES, FEATURES = 10, 32
EXAMPLES = 2048  # all of them in every step: no noise, so the temperature is exactly 0
SPREAD = 2.5  # of the examples around their class's centre; the more they overlap, the longer there is something to learn
HIDDEN = 64
STEPS = 10_000  # about a minute on one core
LR = 0.22  # the edge is at a sharpness of 2 / LR, about 9, which it reaches in the first third
PRINT_EVERY = 500
BUDGET = (
    0.5  # of the run's time for the probe, ten times the default: the sharpness is what this run is about
)
SEED = 0

Batch = tuple[Tensor, Tensor]  # features (n, FEATURES) and one-hot labels (n, CLASSES)


def examples() -> Batch:
    """Ten clouds of points."""
    labels = torch.arange(EXAMPLES) % CLASSES
    centres = torch.randn(CLASSES, FEATURES)
    features = centres[labels] + SPREAD * torch.randn(EXAMPLES, FEATURES)
    return features / features.std(), one_hot(labels, CLASSES).float()


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    features, targets = batch
    return (model(features) - targets).square().sum(1).mean() / 2


def main(steps: int = STEPS) -> None:
    torch.set_num_threads(1)  # the second core is for whoever watches
    torch.manual_seed(SEED)

    batch = examples()
    model = nn.Sequential(
        nn.Linear(FEATURES, HIDDEN),
        nn.Tanh(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.Tanh(),
        nn.Linear(HIDDEN, CLASSES),
    )
    optimizer = torch.optim.SGD(model.parameters(), LR)

    rises = 0
    before = float("inf")
    with Probe(model, optimizer, loss_fn, name="edge", reference=batch, budget=BUDGET) as probe:
        for step in range(1, steps + 1):
            loss = loss_fn(model, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            probe.step(loss, batch)

            rises += loss.item() > before
            before = loss.item()
            if step % PRINT_EVERY == 0:
                print(f"step {step:6d}  loss {before:.4f}  it rose in {rises} of {step} steps")

    print(
        f"the edge is at 2/η = {2 / LR:g}; loss {before:.4f} after {steps} steps, and it rose in {rises} of them"
    )


if __name__ == "__main__":
    main()
