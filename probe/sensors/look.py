"""What one measurement of curvature does at its snapshot, and the frame that it becomes."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lsmon.protocol.frames import Curvature, Ritz, Scalars

from ..algorithms.density import slq
from ..algorithms.lanczos import lanczos
from ..algorithms.quadrature import Density, Unresolved
from ..algorithms.volume import by_probe, damped, estimated_ellipsoid, shorter
from ..operators.difference import Difference
from ..operators.hessian import Hessian
from ..operators.ladder import Chosen
from ..operators.metric import metric
from ..operators.operator import Operator
from ..operators.preconditioned import Preconditioned
from ..operators.update import update
from ..optimizers import edge
from ..reference import Reference
from ..survey import MOST_SHARPNESS, Survey, along, survey
from .sensor import Context, Finding

UNDERSAMPLED = 0.15
"""Excess of the halves' mean λ_max above which the batch is too small for the level of the sharpness."""

TAU = 1e-2
"""Fractions are of eigenvalues below -τ|H| and within ±τ|H|: at 1e-3 no affordable number of products resolves them."""

HEIGHT = 1e-2
"""ε of the ellipsoid's volume, in the unit of the loss: an absolute one, so that two steps with the same r compare."""

DAMPING = 1e-2
"""δ of the volume, times the first λ_max."""

_Work = Generator[None, None, list[Finding]]


class NotMeasured(ValueError):
    """This time: a product that is not finite, or no memory for a basis."""


@dataclass
class Look:
    """What later measurements take over from earlier ones."""

    sharpness: float | None = None
    undersampled: float | None = None
    """Mean λ_max of the halves of the examples over that of all of them, less one."""
    fresh: float | None = None
    """The same, until it has been told."""
    halves: tuple[Hessian, ...] = ()
    """Of the examples of the last sharpness, where it was found."""
    excess: str = ""
    """How far λ_max of the examples measured on is above that of all, in words."""
    vector: Tensor | None = None
    """The top Ritz vector of the last sharpness, for that comparison, ..."""
    point: Hessian | Difference | None = None
    """... and where it was found."""

    delta: float | None = None
    """δ of the volume, fixed at the first one so that volumes can be compared."""

    def forget(self) -> None:
        """What was measured is of another trajectory; δ stays."""
        delta = self.delta
        self.__init__()  # type: ignore[misc]
        self.delta = delta

    def begin_overshoot(
        self, part: Reference, whole: Reference | None
    ) -> tuple[Tensor, Hessian, float] | None:
        """Once in a run, when there is something to compare with: the top Ritz vector, where it was found, its value."""
        vector, point, value = self.vector, self.point, self.sharpness
        self.vector = self.point = None
        if vector is None or self.excess or whole is None or part.examples >= whole.examples:
            return None
        self.excess = f"{part.examples} of {whole.examples} examples, to keep to the budget"
        return (vector, point, value) if isinstance(point, Hessian) and value is not None else None


def look(
    context: Context,
    chosen: Chosen,
    part: Reference,
    known: Look,
    *,
    complete: bool,
    products: int,
    max_bytes: int,
    halves: bool,
) -> _Work:
    """One unit of work between two yields: the snapshot with its gradient, then product after product."""
    began = time.perf_counter()
    step, share = context.step, context.share
    model, optimizer = context.model, context.optimizer
    limit = edge(optimizer) if optimizer is not None else None
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    shape = metric(optimizer, list(named.values())) if complete and optimizer is not None else None
    pair = part.halves() if halves else None
    parts = tuple(Hessian(model, context.loss_fn, half) for half in pair) if pair and context.loss_fn else ()
    point = chosen.snapshot()
    spent = time.perf_counter() - began
    yield

    def body() -> Generator[None, None, tuple[Survey, Ritz | None]]:
        found = yield from survey(
            point,
            complete=complete,
            products=products if complete else min(products, MOST_SHARPNESS),
            seed=context.seed,
            max_bytes=max_bytes,
        )
        felt = None
        if shape is not None:
            operator = Preconditioned(point, shape.root, shape.decay)
            felt = yield from _sharpest(operator, context.seed, max_bytes)
        return found, felt

    work = body()
    while True:
        began = time.perf_counter()
        try:
            next(work)
        except StopIteration as done:
            found, felt = done.value
            break
        except ValueError as error:
            raise NotMeasured(str(error)) from error
        finally:
            spent += time.perf_counter() - began
        yield
    extremes = found.krylov.extremes
    sharpest: Ritz = extremes.top[0]
    context.notes.pop("curvature", None)
    context.sharpness = known.sharpness = sharpest.value
    if sharpest.converged and not complete:
        if parts:
            known.halves = parts
        if not known.excess:
            known.vector, known.point = found.krylov.vector, point
    notes = [*chosen.notes]
    if not sharpest.converged:
        notes.append("λ_max not converged")
    if complete and not extremes.bottom[0].converged:
        notes.append("λ_min not converged: it may be lower")
    if known.excess:
        notes.append(known.excess)
    if known.undersampled is not None and known.undersampled > UNDERSAMPLED:
        notes.append(f"undersampled: halves of the batch have a sharpness {known.undersampled:.0%} higher")
    curvature = Curvature(
        step=step,
        top=extremes.top if complete else extremes.top[:1],
        bottom=extremes.bottom if complete else (),
        negative_at_least=extremes.negative_at_least if complete else 0,
        tolerance=extremes.tolerance if complete else 0.0,
        lanczos_steps=extremes.hvps,
        hvps=found.hvps,
        seconds=spent,
        share=share(),
        method=f"Lanczos {extremes.hvps}, {chosen.method}, {_mode(model)}",
        batch=part.examples,
        parameters=point.dim,
        loss=found.loss,
        grad_norm=found.grad_norm,
        noise=extremes.noise,
        notes=tuple(notes),
        grad_curvature=found.grad_curvature,
        preconditioned=felt,
        undersampled=known.fresh,
        memory=extremes.memory,
    )
    known.fresh = None
    if shape is not None and felt is not None:
        return [curvature, _against(step, felt, shape.limit, 0.0)]
    return [curvature] if limit is None else [curvature, _against(step, sharpest, *limit)]


def overshoot(
    known: Look, top: tuple[Tensor, Hessian, float], part: Reference, whole: Reference | None
) -> _Work:
    """How far the sharpness of a part is above that of all examples, at most: λ_1 of all is at least vᵀHv of all, with v
    the part's own top eigenvector."""
    vector, point, value = top
    assert whole is not None
    unit = vector / torch.linalg.vector_norm(vector)
    all_of_it = yield from along(point, whole.chunks(part.examples), unit)
    known.excess = (
        f"{part.examples} of {whole.examples} examples: λ_max at most {max(0.0, value / all_of_it - 1):.0%} too high"
        if all_of_it > 0
        else f"{part.examples} of {whole.examples} examples: the level of λ_max is theirs alone"
    )
    return []


def density(context: Context, chosen: Chosen, part: Reference, known: Look, max_bytes: int) -> _Work:
    """Shares of negative and of zero curvature, trace and volume, from the same random probes every time."""
    began = time.perf_counter()
    step, share = context.step, context.share
    point = chosen.snapshot()
    spent = time.perf_counter() - began
    yield
    work = slq(point, seed=context.seed, max_bytes=max_bytes)
    while True:
        began = time.perf_counter()
        try:
            next(work)
        except StopIteration as done:
            found: Density = done.value
            break
        except ValueError as error:
            context.notes["curvature"] = f"no density at step {step}: {error}"
            return []
        finally:
            spent += time.perf_counter() - began
        yield
    notes = [*chosen.notes]
    if known.excess:
        notes.append(known.excess)
    fractions = None
    try:
        fractions = found.fractions(TAU)
    except Unresolved as error:
        notes.append(f"no fractions: {error}")
    if known.delta is None and found.ends()[1] > 0:
        known.delta = DAMPING * found.ends()[1]
    volume = found.log_volume(known.delta) if known.delta else None
    coefficient = found.llc_quadratic(known.delta) if known.delta else None
    trace, (grid, mass) = found.trace(), found.grid()
    essay = _essay(step, found) if fractions else []
    return [
        Curvature(
            step=step,
            hvps=found.hvps,
            seconds=spent,
            share=share(),
            method=f"quadrature {len(found.projections)} x {found.steps}, {chosen.method}, {_mode(context.model)}",
            batch=part.examples,
            parameters=point.dim,
            notes=tuple(notes),
            negative_fraction=fractions.negative.value if fractions else None,
            negative_fraction_se=fractions.negative.se if fractions else None,
            zero_fraction=fractions.zero.value if fractions else None,
            zero_fraction_se=fractions.zero.se if fractions else None,
            fraction_tolerance=TAU if fractions else None,
            resolution=found.resolution,
            trace=trace.value,
            trace_se=trace.se,
            density_grid=grid,
            density_mass=mass,
            log_volume=volume.value if volume else None,
            log_volume_se=volume.se if volume else None,
            llc_quadratic=coefficient.value if coefficient else None,
            llc_quadratic_se=coefficient.se if coefficient else None,
            delta=known.delta,
            memory=found.memory,
            log_volume_probes=tuple(by_probe(found, damped(known.delta))) if known.delta else (),
            log_volume_shorter=shorter(found, damped(known.delta)) if known.delta else (),
        ),
        *essay,
    ]


def _essay(step: int, found: Density) -> list[Finding]:
    """The volume of the valley in the directions that are resolved, with its constants."""
    try:
        body = estimated_ellipsoid(found, HEIGHT, TAU)
    except ValueError:
        return []
    name = "volume/ellipsoid"
    words = f"(2πε)^(r/2) / (Γ(r/2+1) ∏√λ), ε = {HEIGHT:g}, r = {body.directions:.3g} directions above {TAU:g} |H|"
    return [Scalars(step=step, values={name: body.log_volume}, errors={name: body.se}, words={name: words})]


def compare_halves(known: Look, seed: int, max_bytes: int) -> _Work:
    """Whether the examples are too few for the level of the sharpness: halves of them then have a higher one."""
    parts, value = known.halves, known.sharpness
    known.halves = ()
    if value is None or value <= 0:
        return []
    total = 0.0
    for part in parts:
        total += (yield from _sharpest(part, seed, max_bytes)).value
    known.undersampled = known.fresh = total / len(parts) / value - 1.0
    return []


def critical(context: Context, chosen: Chosen) -> _Work:
    """Critical sharpness along the last update, by forward passes alone."""
    parameters = [p for p in context.model.parameters() if p.requires_grad]
    last = update(context.optimizer, parameters) if context.optimizer is not None else None
    if last is None:
        context.notes["curvature"] = "forward only, and the optimizer does not tell its last update"
        return []
    direction, length = last
    step = context.step
    found = yield from chosen.along().critical(direction, length)
    if found.value is None:
        context.notes["curvature"] = found.words
        return []
    context.notes.pop("curvature", None)
    words = f"{chosen.method}, {found.passes} passes, along the update"
    half = (found.high - found.low) / 2
    return [
        Scalars(
            step=step,
            values={"hessian/critical": found.value},
            errors={"hessian/critical": half},
            words={"hessian/critical": words},
        )
    ]


def _sharpest(operator: Operator, seed: int, max_bytes: int) -> Generator[None, None, Ritz]:
    krylov = yield from lanczos(
        operator, top=1, bottom=0, max_products=MOST_SHARPNESS, seed=seed, max_bytes=max_bytes
    )
    return krylov.extremes.top[0]


def _against(step: int, sharpest: Ritz, limit: float, decay: float) -> Scalars:
    """Sharpness relative to the optimizer's own edge; coupled weight decay adds to every eigenvalue."""
    return Scalars(
        step=step,
        values={"hessian/edge": limit, "stability/ratio": (sharpest.value + decay) / limit},
        errors={"stability/ratio": sharpest.residual / limit},
    )


def _mode(model: nn.Module) -> str:
    """What eval mode means for this model."""
    kinds = [type(module).__name__ for module in model.modules()]
    words = ["eval mode"]
    if any("Dropout" in kind for kind in kinds):
        words.append("dropout off")
    if any("BatchNorm" in kind for kind in kinds):
        words.append("BatchNorm running statistics")
    return words[0] + (": " + ", ".join(words[1:]) if len(words) > 1 else "")
