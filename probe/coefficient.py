"""``llc``: the local learning coefficient of a checkpoint by Langevin sampling, at leisure and never in a training.

λ̂ = (⟨L⟩ - L(θ*))/T at T = ln n / n, where ⟨·⟩ is over SGLD in the potential L + γT/2 |θ - θ*|² (Lau et al. 2023,
arXiv:2308.12108; Watanabe 2013, WBIC). Half the number of parameters where all directions are curved and independent, and
less in a singular model, by what the Hessian alone cannot see.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lsmon.protocol.errors import UsageError

from .algorithms.convergence import doubt, split_rhat
from .algorithms.estimate import estimate
from .algorithms.langevin import STABLE, chain, safe_sharpness
from .operators.snapshot import Snapshot
from .reference import Reference
from .subject import unwrap
from .survey import plainly

STEPS, CHAINS = 1000, 4
"""With 500 steps the largest of six reduced-rank regressions, d = 200, was still 15 % too low and did not say so."""

BURN_IN = 1 / 3
"""Part of every chain that is not counted."""


@dataclass(frozen=True, slots=True)
class LearningCoefficient:
    """λ̂ and what is to be said of it."""

    value: float
    """λ̂; negative where a chain found a lower loss than L(θ*)."""
    se: float
    """Half of the 95 % interval between the chains."""
    not_converged: str
    """Why the number is not to be trusted, in words; empty when nothing speaks against it."""
    temperature: float
    """T, in the unit of the loss."""
    lr: float
    sharpness: float
    """The larger of λ_max at θ* and where a short chain ended; η is a tenth over it unless it was given."""
    loss: float
    """L(θ*), on the same data as the chains' losses."""
    chains: tuple[float, ...]
    """λ̂ of each chain."""
    mixing: float
    """Split R̂ of the loss."""
    gradients: int
    """Gradients of the whole data that it took."""


def llc(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Any],
    data: Any,
    *,
    examples: int | None = None,
    temperature: float | None = None,
    gamma: float = 1.0,
    lr: float | None = None,
    steps: int = STEPS,
    chains: int = CHAINS,
    seed: int = 0,
) -> LearningCoefficient:
    """The local learning coefficient of ``loss_fn(model, data)`` at the parameters that the model has; it is left as it was.

    Args:
        data: one batch or a list of them, as for ``Probe(reference=)``; every step takes the gradient of all of it.
        examples: n, the number of examples; by default the leading dimension of the data.
        temperature: T; by default ln n / n.
        gamma: strength of the localisation, the precision of a Gaussian around θ*.
        lr: η; by default 0.1 over the sharpness.

    Takes ``steps × chains`` gradients. Raises UsageError for arguments that make no sense, and for a loss that is not
    finite at θ*.
    """
    if steps < 30 or chains < 2:
        raise UsageError(
            "steps must be at least 30 and chains at least 2, or there is nothing to tell convergence by."
        )
    if gamma < 0 or (lr is not None and not lr > 0) or (temperature is not None and not temperature > 0):
        raise UsageError("gamma must not be negative, and lr and temperature must be positive.")
    reference = Reference(data)
    count = examples if examples is not None else reference.examples
    if temperature is None and count < 3:
        raise UsageError("examples must be at least 3, or T = ln n / n has no meaning; or give temperature=.")
    heat = temperature if temperature is not None else math.log(count) / count
    with plainly(model):
        point = Snapshot(unwrap(model), loss_fn, reference, by_example=True)
        return _sampled(point, heat, gamma, lr, steps, chains, seed)


def _sampled(
    point: Snapshot,
    heat: float,
    gamma: float,
    lr: float | None,
    steps: int,
    chains: int,
    seed: int,
) -> LearningCoefficient:
    start = float(point.loss(point.parameters))
    if not math.isfinite(start):
        raise UsageError("The loss is not finite at these parameters, so there is nothing to sample around.")
    generator = torch.Generator(device=point.device).manual_seed(seed)
    sharpness = safe_sharpness(point, start, heat, gamma, steps, generator)
    if lr is None and not sharpness > 0:
        raise UsageError("The loss has no curvature at these parameters, so lr= must be given.")
    rate = lr if lr is not None else STABLE / sharpness
    traces = [chain(point, heat, gamma, rate, steps, generator)[0] for _ in range(chains)]
    burn = round(BURN_IN * steps)
    counted = [[(loss - start) / heat for loss in trace[burn:]] for trace in traces]
    each = tuple(math.fsum(trace) / len(trace) for trace in counted)
    found = estimate(each)
    mixing = split_rhat(counted)
    return LearningCoefficient(
        value=found.value,
        se=found.se,
        not_converged=doubt(found.value, counted, mixing, rate * sharpness),
        temperature=heat,
        lr=rate,
        sharpness=sharpness,
        loss=start,
        chains=each,
        mixing=mixing,
        gradients=steps * chains,
    )
