"""How drift and noise balance in one update: what the equilibrium gauge and the temperature by halves are made of."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..optimizers import decoupled, gain, kind, learning_rate, metric_root


class Shape(NamedTuple):
    """The optimizer at one update, along the parameters as one vector of shape (dim,)."""

    rate: Tensor
    """η_eff P: how far the update moves each parameter for a unit of its gradient; zero where it moves none."""
    metric: Tensor
    """P, the same without the learning rate."""
    decay: Tensor
    """κθ with the coupled weight decay κ, which the optimizer adds to the gradient."""
    kappa: Tensor
    """κ, by which it raises every curvature."""
    shrink: Tensor
    """ηκθ with the decoupled weight decay κ: by how much an update shrinks each parameter."""
    plain: bool
    """No momentum and P = 1: then the gauge is exact at any learning rate."""


def shape(optimizer: Any, parameters: list[Tensor]) -> Shape | None:
    """For the live ``parameters``; None before Adam's first update, when there is no metric."""
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    columns: list[list[Tensor]] = [[], [], [], [], []]
    plain = kind(optimizer) == "SGD"
    for parameter in parameters:
        value = parameter.detach().reshape(-1).to(torch.promote_types(parameter.dtype, torch.float32))
        group, metric = groups.get(id(parameter)), torch.ones_like(value)
        rate = kappa = shrink = 0.0
        if group is None:
            metric = torch.zeros_like(value)
        else:
            rate = gain(group)
            kappa = float(group["weight_decay"])
            if decoupled(optimizer, group):
                kappa, shrink = 0.0, kappa * learning_rate(group)
            plain = plain and not group["momentum"]
            if kind(optimizer) == "Adam":
                root = metric_root(optimizer, group, parameter)
                if root is None:
                    return None
                metric = root.reshape(-1).square().to(value)
        for column, piece in zip(
            columns,
            (rate * metric, metric, kappa * value, torch.full_like(value, kappa), shrink * value),
            strict=True,
        ):
            column.append(piece)
    home = columns[0][0].device
    rates, metrics, decays, kappas, shrinks = (
        torch.cat([piece.to(home) for piece in column]) for column in columns
    )
    return Shape(rates, metrics, decays, kappas, shrinks, plain)


class Noise(NamedTuple):
    """What one update's batch says, as vectors of shape (dim,)."""

    mean: Tensor
    """Its gradient, without weight decay."""
    contrast: Tensor
    """A vector of mean zero with the covariance of ``mean``."""
    trace: Tensor
    """η_eff tr(PC), shape ()."""
    plain_trace: Tensor
    """tr(PC), shape ()."""


def direction(noise: Noise, form: Shape, factor: Tensor) -> Tensor:
    """Along which the curvature is wanted: the update itself for plain SGD, its noise otherwise."""
    vector = noise.mean + form.decay if form.plain else noise.contrast
    return factor * form.rate * vector


def balance(noise: Noise, form: Shape, factor: Tensor, finite: float, along: Tensor, product: Tensor) -> Tensor:  # fmt: skip
    """Numerator and denominator of the gauge R, η_eff tr(PC), tr(PC), |∇L|²_P, and what decoupled weight decay takes
    from the loss, shape (6,).

    R = ⟨|∇L|²_P⟩ / (η_eff/2 ⟨uᵀP H P u⟩), or 2⟨|∇L|²⟩/(η⟨gᵀHg⟩) for plain SGD, so that E ΔL = -η_eff |∇L|²(1 - 1/R)
    (after Rugh 1997, doi:10.1103/PhysRevLett.78.772, weighted by curvature). ``factor`` is that of clipping, ``finite``
    that of drawing without replacement, ``product`` is H times ``along``.
    """
    whole = noise.mean + form.decay
    descent = factor * (form.rate @ whole.square() - finite * noise.trace)
    heating = 0.5 * (along @ product + form.kappa @ along.square())
    gradient = form.metric @ noise.mean.square() - finite * noise.plain_trace
    numbers = [
        descent,
        heating if form.plain else finite * heating,
        finite * factor * noise.trace,
        finite * noise.plain_trace,
        gradient,
        form.shrink @ noise.mean,
    ]
    return torch.stack([number.double() for number in numbers])
