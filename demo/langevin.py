"""Langevin dynamics: noise of a known temperature is added to every gradient, and the temperature panel reads it back.

Stochastic gradient Langevin dynamics (Welling and Teh 2011) at a temperature T samples the Boltzmann distribution
exp(-loss / T). The network first comes down to equilibrium at T. Half-way the learning rate is raised tenfold while the
noise of a gradient stays as it is, which makes ten times the temperature; the network heats up until it is in
equilibrium again. The true T is printed and marked, so the panel can be checked.

    python -m lsmon.demo.langevin        and, beside it:        lsmon
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lsmon.probe import Probe

CLASSES, FEATURES, HIDDEN = 10, 64, 64
EXAMPLES = 256  # all of them in every step: the only noise is the one that is added
DECAY = 0.2  # of the weights: holds the network in a bowl, in which there is an equilibrium to come to
LR = 2e-3
HEAT = 1e-4  # the temperature T at this learning rate
STEPS = 16_000  # about a minute on one core
PRINT_EVERY = 1000
BUDGET = 0.5  # of the run's time for the probe: the gauge needs some two hundred looks at the noise
SEED = 0

Batch = list[Tensor]  # of each parameter's noise, the two halves (2, *shape)


def main(steps: int = STEPS) -> None:
    torch.set_num_threads(1)  # the second core is for whoever watches
    torch.manual_seed(SEED)

    labels = torch.arange(EXAMPLES) % CLASSES
    features = torch.randn(CLASSES, FEATURES)[labels] + torch.randn(EXAMPLES, FEATURES)
    model = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), LR, weight_decay=DECAY)
    spread = (2 * HEAT / LR) ** 0.5  # of the noise in a gradient, per parameter: η·spread² / 2 = T

    def loss_fn(model: nn.Module, noise: Batch) -> Tensor:
        """The loss, tilted by the noise: its gradient is the loss's own plus the noise."""
        tilt = [(p * n.mean(0)).sum() for p, n in zip(model.parameters(), noise, strict=True)]
        return cross_entropy(model(features), labels) + torch.stack(tilt).sum()

    calm = [torch.zeros(2, *p.shape) for p in model.parameters()]
    with Probe(
        model, optimizer, loss_fn, name="langevin", reference=calm, budget=BUDGET, sensors="full"
    ) as probe:
        for step in range(1, steps + 1):
            if step == steps // 2:
                optimizer.param_groups[0]["lr"] = 10 * LR
                probe.mark(f"ten times the learning rate, so T is {10 * HEAT:g} from here")
            noise = [2**0.5 * spread * torch.randn(2, *p.shape) for p in model.parameters()]
            for half in (0, 1):  # two micro-batches: their difference is the noise and nothing else
                (loss_fn(model, [n[half : half + 1] for n in noise]) / 2).backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                loss = loss_fn(model, calm)
            probe.step(loss, noise)

            if step % PRINT_EVERY == 0:
                heat = HEAT if step < steps // 2 else 10 * HEAT
                print(f"step {step:6d}  loss {loss.item():.4f}  true temperature {heat:g}")

    print(f"the true temperature was {HEAT:g}, and {10 * HEAT:g} from step {steps // 2} on; {steps} steps")


if __name__ == "__main__":
    main()
