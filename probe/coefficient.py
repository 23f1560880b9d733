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
from torch import Tensor, nn

from lsmon.protocol.errors import UsageError

from .algorithms.estimate import estimate
from .algorithms.lanczos import lanczos
from .operators.snapshot import Snapshot
from .reference import Reference
from .subject import unwrap
from .survey import plainly

STEPS, CHAINS = 1000, 4
"""With 500 steps the largest of six reduced-rank regressions, d = 200, was still 15 % too low and did not say so."""

STABLE = 0.1
"""Largest η λ_max. Plain Langevin steps make a mode of curvature h hotter by a factor of 1/(1 - ηh/2), which is 5 % here and
was not in the error; with the mean of two neighbouring noises every harmonic mode has its temperature exactly, at any
stable η (Leimkuhler & Matthews 2013, doi:10.1093/amrx/abs010), and what remains is of second order."""

PILOT = 0.2
"""Length of the chain that tells how curved the loss is where chains go, over that of the others."""

BURN_IN = 1 / 3
"""Part of every chain that is not counted."""

MIXED = 1.2
"""Split R̂ (Gelman et al. 2013, section 11.4) of the loss above which the chains tell of different places."""

DRIFTED = 2.0
"""Standard errors between the two halves of what is counted, above which the chains are still on their way."""

PRODUCTS, NEAR = 24, 1e-3
"""For the sharpness that the step size is made from: Lanczos products, and the step of the differences over |θ|."""

GROWTH = 40
"""Doublings of a displacement until it is as high as a thermal one; a loss that never rises has no scale."""


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
        point = Snapshot(unwrap(model), loss_fn, reference)
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
    sharpness = _sharpness(point, start, heat, gamma, steps, generator)
    if lr is None and not sharpness > 0:
        raise UsageError("The loss has no curvature at these parameters, so lr= must be given.")
    rate = lr if lr is not None else STABLE / sharpness
    traces = [_chain(point, heat, gamma, rate, steps, generator)[0] for _ in range(chains)]
    burn = round(BURN_IN * steps)
    counted = [[(loss - start) / heat for loss in trace[burn:]] for trace in traces]
    each = tuple(math.fsum(trace) / len(trace) for trace in counted)
    found = estimate(each)
    mixing = _mixing(counted)
    return LearningCoefficient(
        value=found.value,
        se=found.se,
        not_converged=_doubt(found.value, counted, mixing, rate * sharpness),
        temperature=heat,
        lr=rate,
        sharpness=sharpness,
        loss=start,
        chains=each,
        mixing=mixing,
        gradients=steps * chains,
    )


def _chain(
    point: Snapshot, heat: float, gamma: float, rate: float, steps: int, generator: torch.Generator
) -> tuple[list[float], Tensor]:
    """The loss at every step of one chain that starts at θ*, and where it ends; early when it is not finite."""
    away = torch.zeros(point.dim, device=point.device, dtype=point.dtype)
    kick = math.sqrt(2 * rate * heat) / 2

    def draw() -> Tensor:
        return torch.randn(point.dim, device=point.device, dtype=point.dtype, generator=generator)

    losses: list[float] = []
    noise = draw()
    for _ in range(steps):
        gradient, loss = point.gradient(point.moved(away, 1.0))
        losses.append(float(loss))
        if not math.isfinite(losses[-1]):
            return losses + [losses[-1]] * (steps - len(losses)), away
        before, noise = noise, draw()
        away = away - rate * (gradient + gamma * heat * away) + kick * (before + noise)
    return losses, away


def _sharpness(
    point: Snapshot, start: float, heat: float, gamma: float, steps: int, generator: torch.Generator
) -> float:
    """λ_max at θ* or where a short chain goes, whichever is larger: a singular minimum may have no curvature of its own.

    That chain's step is made from the curvature where the loss is higher by d T/2 in a random direction, which is more
    than the chain will meet.
    """
    direction = torch.randn(point.dim, device=point.device, dtype=point.dtype, generator=generator)
    direction /= torch.linalg.vector_norm(direction)
    reach, rise = 1e-3 * max(float(point.norm()), 1e-3), 0.5 * point.dim * heat
    for _ in range(GROWTH):
        if not float(point.loss(point.moved(direction, reach))) - start < rise:
            break
        reach *= 2
    here = torch.zeros_like(direction)
    at_home, at_most = _top(_Displaced(point, here, reach)), _top(_Displaced(point, reach * direction, reach))
    if not max(at_home, at_most) > 0:
        return 0.0
    _, end = _chain(
        point, heat, gamma, STABLE / max(at_home, at_most), max(1, round(PILOT * steps)), generator
    )
    return max(at_home, _top(_Displaced(point, end, reach)))


def _top(operator: _Displaced) -> float:
    """λ_max, 0 where it is not positive or not finite."""
    work = lanczos(operator, top=1, bottom=0, max_products=PRODUCTS)
    try:
        while True:
            next(work)
    except StopIteration as done:
        return max(0.0, float(done.value.extremes.top[0].value))
    except ValueError:
        return 0.0


class _Displaced:
    """∇²L somewhere else than at the snapshot, by differences of gradients: a few percent are enough here."""

    def __init__(self, point: Snapshot, centre: Tensor, reach: float) -> None:
        self.dim, self.device, self.dtype = point.dim, point.device, point.dtype
        self._point, self._centre = point, centre
        self._step = NEAR * max(float(point.norm()), reach)

    def matvec(self, vector: Tensor) -> Tensor:
        step = self._step / float(torch.linalg.vector_norm(vector))
        ahead, _ = self._point.gradient(self._point.moved(self._centre + step * vector, 1.0))
        behind, _ = self._point.gradient(self._point.moved(self._centre - step * vector, 1.0))
        product: Tensor = (ahead - behind) / (2 * step)
        return product


def _doubt(value: float, counted: list[list[float]], mixing: float, stiffness: float) -> str:
    """What speaks against the number."""
    if not math.isfinite(value):
        return "a chain left the region where the loss is finite: a smaller lr is needed"
    half = len(counted[0]) // 2
    early = [math.fsum(trace[:half]) / half for trace in counted]
    late = [math.fsum(trace[half:]) / (len(trace) - half) for trace in counted]
    words = []
    if math.fsum(late) < 0:
        words.append(
            "the chains found a lower loss than at these parameters, which are therefore not a minimum"
        )
    drift = estimate([b - a for a, b in zip(early, late, strict=True)])
    if drift.se > 0 and abs(drift.value) > DRIFTED * drift.se:
        words.append(
            f"the loss still {'rises' if drift.value > 0 else 'falls'} in what is counted: more steps are needed"
        )
    if mixing > MIXED:
        words.append(f"the chains disagree (R̂ = {mixing:.2f}): more steps are needed")
    if stiffness > 2 * STABLE:
        words.append(
            f"η λ_max = {stiffness:.2g}, at which steps are too long for a loss that is not harmonic: a smaller lr is needed"
        )
    return "; ".join(words)


def _mixing(counted: list[list[float]]) -> float:
    """Split R̂: every chain in two, variance between against within."""
    half = len(counted[0]) // 2
    parts = [part for trace in counted for part in (trace[:half], trace[-half:])]
    means = [math.fsum(part) / half for part in parts]
    within = math.fsum(
        math.fsum((x - m) ** 2 for x in part) / (half - 1) for part, m in zip(parts, means, strict=True)
    ) / len(parts)
    middle = math.fsum(means) / len(means)
    between = math.fsum((m - middle) ** 2 for m in means) / (len(means) - 1)
    return math.sqrt((half - 1) / half + between / within) if within > 0 else math.nan
