"""Grokking: a small network learns a + b (mod p) by heart, and much later understands it.

The training pairs are memorised within the first sixth of the run. Validation accuracy stays near zero for twice as
long again, while weight decay holds the weights back; then the generalising solution, which has the lower loss at the
same size of the weights, takes over (Power et al. 2022, arXiv:2201.02177; quadratic network after
Gromov 2023, arXiv:2301.02679).

    python -m lsmon.demo.grokking        and, beside it:        lsmon
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from lsmon.probe import Probe

P = 59  # the prime: P² = 3481 pairs, one answer out of P each
HIDDEN = 256  # wide enough that a step takes milliseconds, and can be watched
TRAIN_SHARE = 0.4  # of all pairs; less of them makes the wait for generalisation longer
BATCH = 512  # of 1392 training pairs: the noise of a batch is what the temperature measures
STEPS = 14_000  # about a minute on one core
LR = 4e-4  # slow, so that memorising and generalising stand apart on the screen
WEIGHT_DECAY = 2.0  # the force that ends memorising; at 0 validation accuracy stays 0 for the whole run
EVAL_EVERY = 50  # steps between two looks at all pairs
BUDGET = 0.2  # of the run's time for the probe: four times the default, since this run is short and made to be watched
SEED = 0

Batch = tuple[Tensor, Tensor]  # pairs (n, 2 P) as two one-hot vectors side by side, and their sums (n,)


class Square(nn.Module):
    """x², elementwise: with it two layers hold the trigonometric solution of modular addition exactly."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square()


def all_pairs() -> Batch:
    a, b = torch.cartesian_prod(torch.arange(P), torch.arange(P)).unbind(1)
    return torch.cat([one_hot(a, P), one_hot(b, P)], dim=1).float(), (a + b) % P


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    pairs, sums = batch
    return cross_entropy(model(pairs), sums)


@torch.no_grad()
def look(model: nn.Module, batch: Batch) -> tuple[float, float]:
    """Loss and accuracy on a batch."""
    pairs, sums = batch
    logits = model(pairs)
    return cross_entropy(logits, sums).item(), (logits.argmax(1) == sums).float().mean().item()


def main(steps: int = STEPS) -> None:
    torch.set_num_threads(1)  # the second core is for whoever watches
    torch.manual_seed(SEED)

    pairs, sums = all_pairs()
    shuffled = torch.randperm(len(sums))
    train_ids, val_ids = shuffled.split(
        [int(TRAIN_SHARE * len(sums)), len(sums) - int(TRAIN_SHARE * len(sums))]
    )
    train, val = (pairs[train_ids], sums[train_ids]), (pairs[val_ids], sums[val_ids])

    model = nn.Sequential(nn.Linear(2 * P, HIDDEN), Square(), nn.Linear(HIDDEN, P))
    optimizer = torch.optim.AdamW(model.parameters(), LR, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)

    memorised = generalised = None
    val_acc = 0.0
    with Probe(model, optimizer, loss_fn, name=f"grok-p{P}", budget=BUDGET) as probe:
        for step in range(1, steps + 1):
            rows = torch.randint(len(train[1]), (BATCH,))
            batch = (train[0][rows], train[1][rows])
            loss = loss_fn(model, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            probe.step(loss, batch)

            if step % EVAL_EVERY == 0 or step == steps:
                train_acc, (val_loss, val_acc) = look(model, train)[1], look(model, val)
                probe.log(**{"train/acc": train_acc, "val/loss": val_loss, "val/acc": val_acc})
                if memorised is None and train_acc >= 0.99:
                    memorised = step
                if generalised is None and val_acc >= 0.95:
                    generalised = step
                if step % (10 * EVAL_EVERY) == 0:
                    print(
                        f"step {step:6d}  loss {loss.item():.2e}  train acc {train_acc:.3f}  val acc {val_acc:.3f}"
                    )

    first = f"memorised at step {memorised}" if memorised else "not memorised"
    later = f"generalised at step {generalised}" if generalised else "not generalised"
    print(f"{first}, {later}; validation accuracy {val_acc:.2f} after {steps} steps")


if __name__ == "__main__":
    main()
