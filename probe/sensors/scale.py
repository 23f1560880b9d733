"""Learning rate, gradient norm, weight norm, and the size of an update relative to the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .sensor import Context, Finding, Sensor

HALF = (torch.float16, torch.bfloat16)


class Scale(Sensor):
    """Looks on while the optimizer steps, because most loops have cleared the gradients when they call the probe."""

    name = "scale"
    needs = ("model", "optimizer")

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds  # twenty a second: more than that is not seen, and would triple the recording
        self._before: list[Tensor] = []
        self._values: dict[str, Any] = {}

    def before_update(self, context: Context) -> None:
        parameters = _trained(context)
        self._values = {"grad/norm": norm([p.grad for p in parameters if p.grad is not None])}
        self._before = [parameter.detach().clone() for parameter in parameters]

    def after_update(self, context: Context) -> None:
        parameters = [parameter.detach() for parameter in _trained(context)]
        if len(parameters) != len(self._before):
            return
        weights = norm(parameters)
        moved = norm(torch._foreach_sub(parameters, self._before))
        self._before = []
        # An all-zero model has no scale to compare with: 0/0 would be a false alarm.
        ratio = moved / weights.clamp_min(torch.finfo(weights.dtype).tiny)
        self._values |= {"weight/norm": weights, "update/ratio": ratio}

    def measure(self, context: Context) -> Finding:
        values, self._values = self._values, {}
        for index, group in enumerate(context.optimizer.param_groups):
            values["lr" if index == 0 else f"lr/{index}"] = group["lr"]
        return values

    def close(self) -> None:
        self._before = []


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm over all of them, a 0-d tensor, accumulated in single precision at least."""
    dense = [
        tensor.detach().coalesce().values() if tensor.is_sparse else tensor.detach() for tensor in tensors
    ]
    dense = [tensor.float() if tensor.dtype in HALF else tensor for tensor in dense]
    if not dense:
        return torch.zeros(())
    first = dense[0].device
    total: Tensor = torch.linalg.vector_norm(
        torch.stack([piece.to(first) for piece in torch._foreach_norm(dense)])
    )
    return total


def _trained(context: Context) -> list[Tensor]:
    """Parameters that this optimizer moves and that receive a gradient now."""
    return [
        parameter
        for group in context.optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
