"""The frame that a measurement of curvature becomes, with what must be said beside its numbers."""

from __future__ import annotations

from lsmon.protocol.frames import Curvature

from ..operators.ladder import Chosen
from ..reference import Reference
from ..subject import eval_mode
from ..survey import Survey, skewed
from .known import Known
from .sensor import Context

UNDERSAMPLED = 0.15
"""Excess of the halves' mean λ_max above which the batch is too small for the level of the sharpness."""


def report(
    context: Context,
    chosen: Chosen,
    part: Reference,
    known: Known,
    found: Survey,
    parameters: int,
    step: int,
    seconds: float,
    *,
    complete: bool,
) -> Curvature:
    """What was ``found`` at ``step`` on ``part`` of the reference batch, in so many seconds; λ_1 alone unless it is
    ``complete``."""
    extremes = found.krylov.extremes
    undersampled, known.fresh = known.fresh, None
    return Curvature(
        step=step,
        top=extremes.top if complete else extremes.top[:1],
        bottom=extremes.bottom if complete else (),
        negative_at_least=extremes.negative_at_least if complete else 0,
        tolerance=extremes.tolerance if complete else 0.0,
        lanczos_steps=extremes.hvps,
        hvps=found.hvps,
        seconds=seconds,
        share=context.share(),
        method=f"Lanczos {extremes.hvps}, {chosen.method}, {eval_mode(context.model)}",
        batch=part.examples,
        parameters=parameters,
        loss=found.loss,
        grad_norm=found.grad_norm,
        noise=extremes.noise,
        notes=tuple(_notes(context, chosen, part, known, found, complete=complete)),
        grad_curvature=found.grad_curvature,
        undersampled=undersampled,
        memory=extremes.memory,
    )


def _notes(
    context: Context, chosen: Chosen, part: Reference, known: Known, found: Survey, *, complete: bool
) -> list[str]:
    extremes, whole = found.krylov.extremes, context.reference
    fewer = whole is not None and part.part_of(whole)
    examples = known.excess or (f"{part.examples} of {whole.examples} examples" if whole and fewer else "")
    notes = [examples] if examples else []
    notes += [part.remark] if part.remark else []
    notes += [*chosen.notes, *([found.krylov.remark] if found.krylov.remark else [])]
    notes += filter(None, [skewed(extremes)])
    if not extremes.top[0].converged:
        notes.append("λ_max not converged")
    if complete and not extremes.bottom[0].converged:
        notes.append("λ_min not converged: it may be lower")
    if known.undersampled is not None and known.undersampled > UNDERSAMPLED:
        notes.append(f"undersampled: halves of the batch have a sharpness {known.undersampled:.0%} higher")
    return notes
