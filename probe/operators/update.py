"""The direction in which an optimizer last moved the parameters: where critical sharpness is measured along."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..optimizers import decoupled, kind, learning_rate, metric_root, single, unbias


def update(optimizer: Any, parameters: Iterable[Tensor]) -> tuple[Tensor, float] | None:
    """Direction u (dim,) and length η of the last update, θ ← θ - ηu, from the optimizer's state; None where it is not
    known, as for plain SGD once its gradients have been cleared."""
    family = kind(optimizer)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]} if family else {}
    parameters = list(parameters)
    fastest = max((learning_rate(groups[id(p)]) for p in parameters if id(p) in groups), default=0.0)
    if fastest <= 0:
        return None
    pieces: list[Tensor] = []
    known = False
    for parameter in parameters:
        group = groups.get(id(parameter))
        step = None if group is None else _last(optimizer, group, parameter)
        if step is None or group is None:
            pieces.append(torch.zeros_like(single(parameter)).reshape(-1))
            continue
        known = True
        sign = -1.0 if group["maximize"] else 1.0
        pieces.append((step * (sign * learning_rate(group) / fastest)).reshape(-1))
    return (torch.cat([piece.to(pieces[0].device) for piece in pieces]), fastest) if known else None


def _last(optimizer: Any, group: dict[str, Any], parameter: Tensor) -> Tensor | None:
    """The last update of this parameter over its learning rate."""
    value = parameter.detach()
    state = optimizer.state.get(parameter, {})
    if kind(optimizer) == "Adam":
        root = metric_root(optimizer, group, parameter)
        if root is None:
            return None
        bias = unbias(group["betas"][0], state["step"], value.device)
        step: Tensor = state["exp_avg"].to(root.dtype) / bias * root**2
        return step + float(group["weight_decay"]) * value if decoupled(optimizer, group) else step
    buffer = state.get("momentum_buffer")
    if buffer is not None and not group["nesterov"]:
        return single(buffer)
    if parameter.grad is None:
        return None
    gradient = single(parameter.grad) + float(group["weight_decay"]) * value
    return gradient if buffer is None else gradient + float(group["momentum"]) * single(buffer)
