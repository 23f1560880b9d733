"""The whole spectrum of a step by quadrature: fractions, trace, density and volumes, in one frame."""

from __future__ import annotations

import time
from collections.abc import Generator

from lsmon.protocol.frames import Curvature, Scalars

from ..algorithms.density import slq
from ..algorithms.quadrature import Density, Unresolved
from ..algorithms.volume import by_probe, damped, estimated_ellipsoid, shorter
from ..operators.difference import unmoved
from ..operators.ladder import Chosen
from ..reference import Reference
from ..subject import eval_mode
from .known import Known, Work
from .sensor import Context, Finding

TAU = 1e-2
"""Fractions are of eigenvalues below -τ|H| and within ±τ|H|: at 1e-3 no affordable number of products resolves them."""

HEIGHT = 1e-2
"""ε of the ellipsoid's volume, in the unit of the loss: an absolute one, so that two steps with the same r compare."""

DAMPING = 1e-2
"""δ of the volume, times the first λ_max."""


def density(context: Context, chosen: Chosen, part: Reference, known: Known, max_bytes: int) -> Work:
    """Shares of negative and of zero curvature, trace and volume, from the same random probes every time."""
    began = time.perf_counter()
    step, share = context.step, context.share
    point = chosen.snapshot()
    spent = time.perf_counter() - began
    yield

    def body() -> Generator[None, None, Density]:
        found = yield from slq(point, seed=context.seed, max_bytes=max_bytes)
        yield from unmoved(point)
        return found

    work = body()
    while True:
        began = time.perf_counter()
        try:
            next(work)
        except StopIteration as done:
            found = done.value
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
            method=f"quadrature {len(found.projections)} x {found.steps}, {chosen.method}, {eval_mode(context.model)}",
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
