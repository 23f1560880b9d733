"""What an optimizer's settings mean for the physics: its gain, its metric, and the sharpness at which it diverges."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

ADAM = (torch.optim.Adam, torch.optim.AdamW)


def kind(optimizer: Any) -> str:
    """``SGD`` or ``Adam`` for the two families whose dynamics are known here; else an empty string.

    Subclasses may step otherwise, so only the classes of torch.optim themselves count.
    """
    if type(optimizer) is torch.optim.SGD:
        return "SGD"
    return "Adam" if type(optimizer) in ADAM else ""


def unknown(optimizer: Any) -> str:
    """Why the noise of its steps is not known here, in words; empty where it is."""
    if not kind(optimizer):
        return f"known for SGD, Adam and AdamW, not for {type(optimizer).__name__}"
    if any(p.is_complex() for group in optimizer.param_groups for p in group["params"]):
        return "not known for complex parameters"
    return ""


def learning_rate(group: dict[str, Any]) -> float:
    """Raises ValueError when it lives on a device, where reading it would make the training wait."""
    lr = group["lr"]
    if isinstance(lr, Tensor) and lr.device.type != "cpu":
        raise ValueError(
            "the learning rate is a tensor on the device and cannot be read without waiting for it"
        )
    return float(lr)


def gain(group: dict[str, Any]) -> float:
    """η_eff: how far a constant unit gradient moves a parameter per step in the long run.

    SGD η(1 − dampening)/(1 − μ); Adam η, since its averaging has unit gain.
    """
    momentum = group.get("momentum", 0.0)
    if not momentum:
        return learning_rate(group)
    return float(learning_rate(group) * (1.0 - group.get("dampening", 0.0)) / (1.0 - momentum))


def metric_root(optimizer: Any, group: dict[str, Any], parameter: Tensor) -> Tensor | None:
    """√P for this parameter with P = diag(1/(√v̂ + ε)), from the state before this update; None at the first one."""
    state = optimizer.state.get(parameter)
    if not state or "exp_avg_sq" not in state:
        return None
    squares: Tensor = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    # In place: of a small model the allocations would cost more than the arithmetic.
    corrected = squares.float() / unbias(group["betas"][1], state["step"], squares.device)
    return corrected.sqrt_().add_(group["eps"]).rsqrt_()


def unbias(beta: float, step: Any, device: torch.device) -> float | Tensor:
    """1 - β^t, without the cancellation that a β near one has in single precision. On ``device`` where the step count is
    not on the host, so that nothing is waited for."""
    if beta <= 0:
        return 1.0
    if isinstance(step, Tensor) and step.device.type != "cpu":
        return -torch.expm1(step * math.log(beta)).to(device)
    return -math.expm1(float(step) * math.log(beta))


def edge(optimizer: Any, parameters: Iterable[Tensor] = ()) -> tuple[float, float] | None:
    """The sharpness above which SGD, heavy ball or Nesterov diverges on a quadratic, and the weight decay to be added
    to λ before comparing; None where one number does not tell (Adam, several learning rates, ascent, or λ is that of
    ``parameters`` of which it moves a part).

    2/η, 2(1 + μ)/η and 2(1 + μ)/((1 + 2μ)η); Cohen et al. 2021, Edge of Stability, appendix B.
    """
    if kind(optimizer) != "SGD":
        return None
    moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not moved.issuperset(map(id, parameters)):
        return None
    groups = [group for group in optimizer.param_groups if any(p.requires_grad for p in group["params"])]
    settings = {
        (learning_rate(g), g["momentum"], g["dampening"], g["nesterov"], g["weight_decay"], g["maximize"])
        for g in groups
    }
    if len(settings) != 1:
        return None
    lr, momentum, dampening, nesterov, decay, ascent = settings.pop()
    if ascent or lr <= 0:
        return None
    return momentum_limit(lr, {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}), decay


def momentum_limit(lr: float, group: dict[str, Any]) -> float:
    """The edge of SGD with the momentum, dampening and Nesterov flag of this group."""
    momentum = float(group["momentum"])
    if group["nesterov"]:
        return 2.0 * (1.0 + momentum) / ((1.0 + 2.0 * momentum) * lr)
    return 2.0 * (1.0 + momentum) / (lr * (1.0 - float(group["dampening"]) if momentum else 1.0))


def decoupled(optimizer: Any, group: dict[str, Any]) -> bool:
    """Whether weight decay acts on the parameters and not through the gradient."""
    return isinstance(optimizer, torch.optim.AdamW) or bool(group.get("decoupled_weight_decay", False))


def single(tensor: Tensor) -> Tensor:
    """In single precision at least."""
    tensor = tensor.detach()
    return tensor.float() if torch.finfo(tensor.dtype).bits < 32 else tensor
