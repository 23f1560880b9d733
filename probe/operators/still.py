"""Nothing that a loss does in a measurement reaches the optimizers of the loop: one that trains a critic on the way, or is
a whole training step, would move the weights once more."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

STEPS = "loss_fn steps an optimizer, which would move the weights once more; it must give the loss alone"


@contextmanager
def still(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Meanwhile they have no gradients that could be cleared or added to.

    An optimizer of any of them raises ValueError before it steps; one of copies, as of an inner loop, does not.
    """
    live, mine = set(map(id, parameters)), threading.get_ident()

    def refuse(optimizer: Any, *_: Any) -> None:
        moved = (p for group in optimizer.param_groups for p in group["params"])
        if threading.get_ident() == mine and any(id(p) in live for p in moved):
            raise ValueError(STEPS)

    held = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
    handle = register_optimizer_step_pre_hook(refuse)
    try:
        for parameter, _ in held:
            parameter.grad = None
        yield
    finally:
        handle.remove()
        for parameter, gradient in held:
            parameter.grad = gradient
