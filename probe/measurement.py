"""``measure``: curvature once, offline, on a checkpoint, by the same engine that measures while a model trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import Ritz
from lsmon.protocol.nulls import (
    OUTLIERS,
    SEMICIRCLE_KURTOSIS,
    log10_minimum_by_repulsion,
    log10_minimum_by_signs,
)

from .algorithms.density import PROBES, slq
from .algorithms.estimate import Estimate
from .algorithms.inertia import LARGEST, SIGN, inertia
from .algorithms.lanczos import lanczos
from .algorithms.nulls import bulk_kurtosis
from .algorithms.quadrature import Unresolved
from .operators import ladder
from .operators.difference import Difference
from .operators.hessian import Hessian
from .optimizers import edge
from .reference import Reference
from .schedule import UNLIMITED
from .sensors.sensor import Context
from .sensors.spectral_density import DAMPING, TAU
from .subject import unwrap
from .survey import plainly, skewed

Result = TypeVar("Result")

FRACTION_STEPS = 64
"""Fewest Lanczos steps of a spectral density: 32 do not resolve a hundredth of |H|."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is known of the Hessian at one point, and how well. None: not asked for, or not to be had (see ``notes``)."""

    top: tuple[Ritz, ...]
    """The largest eigenvalues, signed, the largest first."""
    bottom: tuple[Ritz, ...]
    """The smallest, signed, the most negative first."""
    negative_at_least: int
    """Certified lower bound of the number of negative eigenvalues; exact with ``dense``."""
    negative_fraction: float | None
    """Share of eigenvalues below ``-tolerance * |H|``."""
    negative_fraction_se: float | None
    zero_fraction: float | None
    """Share of eigenvalues within ``± tolerance * |H|``."""
    zero_fraction_se: float | None
    tolerance: float
    """τ of the fractions, relative to |H| = max(λ_max, -λ_min)."""
    resolution: float | None
    """Smallest τ that the Lanczos steps resolve; 0 with ``dense``."""
    trace: float | None
    trace_se: float | None
    density: tuple[tuple[float, ...], tuple[float, ...]]
    """Curvatures, ascending, and the share of the spectrum at each; two empty tuples when it was not measured."""
    log_volume: float | None
    """-½ Σ ln(1 + max(λ,0)/δ) in nats, δ = 0.01 λ_max."""
    log_volume_se: float | None
    llc_quadratic: float | None
    """½ Σ max(λ,0)/(max(λ,0) + δ): half the effective number of parameters."""
    llc_quadratic_se: float | None
    hvps: int
    """Products with the Hessian that it took."""
    seconds: float
    method: str
    notes: tuple[str, ...]
    """What must be said of these numbers, for a person."""


def measure(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Any],
    batch: Any,
    *,
    optimizer: Any = None,
    k: int = 5,
    steps: int = 32,
    probes: int = PROBES,
    dense: bool = False,
    seed: int = 0,
) -> Measurement:
    """Curvature of ``loss_fn(model, batch)`` at the parameters that the model has; the model is left as it was.

    Args:
        batch: one batch or a list of them, as for ``Probe(reference=)``.
        optimizer: with it, ``notes`` say where its edge of stability is.
        k: eigenvalues from either end.
        steps: most Lanczos products for these; fewer when they are found earlier.
        probes: random vectors of the spectral density (at least 64 products each); 0 leaves it out, and with it the
            fractions, the trace and the volume.
        dense: the whole matrix, exactly, for up to 1500 parameters.

    Raises UsageError for arguments that make no sense, or when this model's curvature cannot be measured.
    """
    if k < 1 or steps < 1 or probes < 0:
        raise UsageError("k and steps must be at least 1, and probes at least 0.")
    began = time.perf_counter()
    with plainly(model):
        return _measured(model, loss_fn, batch, optimizer, k, steps, probes, dense, seed, began)


def _measured(
    model: nn.Module,
    loss_fn: Callable[[Any, Any], Any],
    batch: Any,
    optimizer: Any,
    k: int,
    steps: int,
    probes: int,
    dense: bool,
    seed: int,
    began: float,
) -> Measurement:
    subject = Context(
        unwrap(model), optimizer, loss_fn, reference=Reference(batch), seed=seed, allowance=UNLIMITED
    )
    while not subject.divided:
        subject.gather()
    chosen = ladder.choose(subject)
    if chosen.rung not in (1, 2):
        why = chosen.reason or "; ".join([chosen.method, *chosen.notes])
        raise UsageError(f"No eigenvalue of this model can be had: {why}.")
    point = chosen.snapshot()
    notes = [*chosen.notes]
    try:
        found = _exactly(point, k, notes) if dense else _estimated(point, k, steps, probes, seed, notes)
    except ValueError as error:
        raise UsageError(f"Curvature was not measured: {error}.") from error
    if optimizer is not None:
        limit = edge(optimizer, [p for p in model.parameters() if p.requires_grad])
        if limit is not None:
            ratio = (found["top"][0].value + limit[1]) / limit[0]
            notes.append(f"λ_max is {ratio:.2g} of the optimizer's edge of stability, {limit[0]:.4g}")
    way = found.pop("way")
    return Measurement(
        **found,
        tolerance=TAU,
        seconds=time.perf_counter() - began,
        method=f"{way}, {chosen.method}",
        notes=tuple(notes),
    )


def _estimated(
    point: Hessian | Difference, k: int, steps: int, probes: int, seed: int, notes: list[str]
) -> dict[str, Any]:
    """Both ends by Lanczos, the rest by stochastic Lanczos quadrature."""
    krylov = at_once(lanczos(point, top=k, bottom=1, max_products=steps, known=point.gradient, seed=seed))
    extremes = krylov.extremes
    if krylov.remark:
        notes.append(krylov.remark)
    notes.append(f"{extremes.negative_at_least} are certain to be below -{extremes.tolerance:.2g}")
    notes += filter(None, [skewed(extremes)])
    if not extremes.top[0].converged:
        notes.append("λ_max not converged: ask for more steps")
    if not extremes.bottom[0].converged:
        notes.append("λ_min not converged, it may be lower: ask for more steps")
    found: dict[str, Any] = _nothing() | {
        "top": extremes.top[:k],
        "bottom": extremes.bottom[:k],
        "negative_at_least": extremes.negative_at_least,
        "hvps": extremes.hvps,
        "way": f"Lanczos {extremes.hvps}",
    }
    if not probes:
        return found
    density = at_once(slq(point, probes=probes, steps=max(steps, FRACTION_STEPS), seed=seed))
    found |= {
        "resolution": density.resolution,
        "density": density.grid(),
        "hvps": extremes.hvps + density.hvps,
        "way": f"Lanczos {extremes.hvps}, quadrature {probes} x {density.steps}",
    }
    found["trace"], found["trace_se"] = _pair(density.trace())
    try:
        fractions = density.fractions(TAU)
        found["negative_fraction"], found["negative_fraction_se"] = _pair(fractions.negative)
        found["zero_fraction"], found["zero_fraction_se"] = _pair(fractions.zero)
        notes.append(_by_chance(fractions.negative.value, point.dim))
    except Unresolved as error:
        notes.append(f"no fractions: {error}")
    sharpest = extremes.top[0].value
    if sharpest > 0:
        found["log_volume"], found["log_volume_se"] = _pair(density.log_volume(DAMPING * sharpest))
        found["llc_quadratic"], found["llc_quadratic_se"] = _pair(density.llc_quadratic(DAMPING * sharpest))
    else:
        notes.append("no volume: there is no positive curvature to damp by")
    return found


def _exactly(point: Hessian | Difference, k: int, notes: list[str]) -> dict[str, Any]:
    """The whole spectrum from the matrix, and no error but rounding."""
    if point.dim > LARGEST:
        raise UsageError(
            f"dense=True is for up to {LARGEST} parameters and this model has {point.dim}; leave it out."
        )
    exact = at_once(inertia(point))
    values = exact.values
    size = float(values.abs().max())
    rounding = max(exact.asymmetry, torch.finfo(point.dtype).eps * size)
    ritz = [Ritz(value=value, residual=rounding, converged=True) for value in values.tolist()]
    below, near, _ = exact.counts(TAU)
    positive = values.clamp_min(0)
    delta = DAMPING * float(values[-1])
    negative, _, _ = exact.counts(SIGN)
    notes.append(f"{negative} are below -{SIGN * size:.2g}")
    notes.append(_by_chance(below / point.dim, point.dim))
    bulk = values[:-OUTLIERS]
    if len(bulk) > 1 and float(bulk[-1] - bulk[0]) > 0:
        kurtosis = bulk_kurtosis(values)
        notes.append(
            f"kurtosis of all but the {OUTLIERS} largest is {kurtosis:.2g}, a semicircle's {SEMICIRCLE_KURTOSIS:.2g}"
        )
    weights = torch.full_like(values, 1 / len(values))
    return _nothing() | {
        "top": tuple(reversed(ritz[-k:])),
        "bottom": tuple(ritz[:k]),
        "negative_at_least": negative,
        "negative_fraction": below / len(values),
        "negative_fraction_se": 0.0,
        "zero_fraction": near / len(values),
        "zero_fraction_se": 0.0,
        "resolution": SIGN,
        "trace": float(values.sum()),
        "trace_se": 0.0,
        "density": (tuple(values.tolist()), tuple(weights.tolist())),
        "log_volume": float(-0.5 * torch.log1p(positive / delta).sum()) if delta > 0 else None,
        "log_volume_se": 0.0 if delta > 0 else None,
        "llc_quadratic": float(0.5 * (positive / (positive + delta)).sum()) if delta > 0 else None,
        "llc_quadratic_se": 0.0 if delta > 0 else None,
        "hvps": point.dim,
        "way": f"dense, {point.dim} products",
    }


def _by_chance(negative_fraction: float, dim: int) -> str:
    """How unlikely a minimum is at this index, under the two nulls."""
    signs = log10_minimum_by_signs(negative_fraction, dim)
    repulsion = log10_minimum_by_repulsion(dim)
    return (
        f"a minimum by chance: 10^{_exponent(signs)} under independent signs, "
        f"10^{_exponent(repulsion)} under a centred random symmetric matrix"
    )


def _exponent(power: float) -> str:
    """In brackets where it is itself written with one.

    >>> _exponent(-12.3), _exponent(-4.67e7)
    ('-12.3', '(-4.67e7)')
    """
    mantissa, _, exponent = f"{power:.3g}".partition("e")
    return f"({mantissa}e{int(exponent)})" if exponent else mantissa


def _nothing() -> dict[str, Any]:
    return {
        **dict.fromkeys(("negative_fraction", "negative_fraction_se", "zero_fraction", "zero_fraction_se")),
        **dict.fromkeys(("resolution", "trace", "trace_se", "log_volume", "log_volume_se")),
        **dict.fromkeys(("llc_quadratic", "llc_quadratic_se")),
        "density": ((), ()),
    }


def _pair(estimate: Estimate) -> tuple[float, float]:
    return estimate.value, estimate.se


def at_once(work: Generator[None, None, Result]) -> Result:
    """Everything that a generator would spread over training steps."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: Result = done.value
            return result
