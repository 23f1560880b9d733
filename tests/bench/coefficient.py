"""The learning coefficient by sampling on reduced-rank regressions whose exact value is known.

    python -m tests.bench.coefficient [STEPS CHAINS]

y = BAx with B (N, H), A (H, M) and true matrices of rank r; the exact coefficients are those of Aoyagi & Watanabe 2005.
n = 1000 examples, at the true parameters.
"""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor, nn

from lsmon.probe.coefficient import CHAINS, STEPS, llc

EXACT = {
    (4, 4, 2, 1): 5.0, (6, 6, 4, 2): 13.5, (5, 3, 3, 1): 5.5, (8, 8, 6, 2): 24.0, (10, 10, 10, 3): 44.0, (6, 4, 4, 0): 7.5,
}  # fmt: skip


def loss_fn(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return 0.5 * (model(batch[0]) - batch[1]).square().sum(1).mean()


def regression(inputs: int, outputs: int, hidden: int, rank: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    one, two = nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, outputs, bias=False)
    with torch.no_grad():
        one.weight.zero_()
        two.weight.zero_()
        one.weight[:rank] = torch.randn(rank, inputs, generator=generator) / math.sqrt(inputs)
        two.weight[:, :rank] = torch.randn(outputs, rank, generator=generator) / math.sqrt(max(rank, 1))
    model = nn.Sequential(one, two)
    x = torch.randn(1000, inputs, generator=generator)
    return model, (x, model(x).detach())


def main() -> None:
    steps, chains = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (STEPS, CHAINS)
    torch.set_num_threads(1)
    print(f"{steps} steps x {chains} chains; M, N, H, r")
    for shape, exact in EXACT.items():
        model, data = regression(*shape)
        found = llc(model, loss_fn, data, steps=steps, chains=chains)
        said = found.not_converged or "nothing against it"
        print(
            f"{shape!s:18} exact {exact:5.1f}   found {found.value:6.2f} ± {2 * found.se:5.2f} (2σ)"
            f"   {found.value / exact - 1:+5.0%}   {said}"
        )


if __name__ == "__main__":
    main()
