"""The metric of an optimizer as one vector beside the Hessian's: what its edge of stability is measured in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..optimizers import decoupled, edge, kind, learning_rate, metric_root, momentum_limit, single


class Metric(NamedTuple):
    """The coordinates in which an optimizer with a frozen metric P is heavy ball with one learning rate η."""

    root: Tensor
    """√(P·η_i/η), shape (dim,); zero for what the optimizer does not move."""
    limit: float
    """It diverges when the top eigenvalue of R(H + κI)R, R = diag(root), is above."""
    decay: Tensor | float
    """κ, the coupled weight decay; decoupled decay (AdamW) is in ``limit``."""
    words: str
    """``Adam`` or ``SGD, 2 learning rates``."""


def metric(optimizer: Any, parameters: Iterable[Tensor]) -> Metric | None:
    """For the live ``parameters`` in the order of a Hessian's vectors. None where it is not known: before Adam's first
    update, for an unknown optimizer, several momenta, ascent; also where P is the identity, so that ``edge`` tells.

    Adam and AdamW: P = diag(1/(√v̂ + ε)), limit (2 - ηw)(1 + β1)/((1 - β1)η) with the decoupled weight decay w: the root
    -1 of z² - (ρ + β1 - (1 - β1)a)z + ρβ1 with ρ = 1 - ηw, a = ηλ. For w = 0 that of Cohen et al. 2022, 38/η at 0.9.
    """
    family = kind(optimizer)
    parameters = list(parameters)
    if not family or (family == "SGD" and edge(optimizer, parameters) is not None):
        return None
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    used = list({id(g): g for p in parameters if (g := groups.get(id(p))) is not None}.values())
    names = ("betas",) if family == "Adam" else ("momentum", "dampening", "nesterov")
    fastest = max((learning_rate(group) for group in used), default=0.0)
    if fastest <= 0 or any(group["maximize"] or any(group[n] != used[0][n] for n in names) for group in used):
        return None
    pieces: list[Tensor] = []
    decays: list[float] = []
    moving = False
    decoupled_decays = {group["weight_decay"] for group in used if decoupled(optimizer, group)}
    for parameter in parameters:
        group = groups.get(id(parameter))
        decays.append(0.0 if group is None or decoupled(optimizer, group) else float(group["weight_decay"]))
        root = None
        if group is not None:
            root = (
                torch.ones_like(single(parameter))
                if family == "SGD"
                else metric_root(optimizer, group, parameter)
            )
        if root is None or group is None:
            pieces.append(torch.zeros_like(single(parameter)).reshape(-1))
            continue
        moving = True
        pieces.append((root * (learning_rate(group) / fastest) ** 0.5).reshape(-1))
    if not moving:
        return None
    device = pieces[0].device
    decay: Tensor | float = decays[0]
    if len(set(decays)) > 1:
        decay = torch.cat([torch.full_like(p, d).to(device) for p, d in zip(pieces, decays, strict=True)])
    if family == "Adam":
        beta = float(used[0]["betas"][0])
        shrink = fastest * min(decoupled_decays, default=0.0)
        limit = (2.0 - shrink) * (1.0 + beta) / ((1.0 - beta) * fastest)
        words = type(optimizer).__name__
    else:
        limit = momentum_limit(fastest, used[0])
        rates = len({learning_rate(group) for group in used})
        words = f"SGD, {rates} learning rates" if rates > 1 else "SGD, several weight decays"
        if edge(optimizer) is not None:
            words = "SGD, which moves a part of the weights"
    return Metric(torch.cat([piece.to(device) for piece in pieces]), limit, decay, words)
