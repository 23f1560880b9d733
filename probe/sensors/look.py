"""What one measurement of curvature does at its snapshot, and the frame that it becomes."""

from __future__ import annotations

import time
from collections.abc import Generator

from lsmon.protocol.edge import UNSURE
from lsmon.protocol.frames import Curvature, Ritz

from ..operators.hessian import Hessian
from ..operators.ladder import Chosen
from ..operators.metric import metric
from ..operators.preconditioned import Preconditioned
from ..optimizers import edge
from ..reference import Reference
from ..subject import eval_mode
from ..survey import Survey, sharpest, survey
from .edge_look import against, sharpest_felt
from .known import Known, NotMeasured, Work
from .sensor import Context
from .way import Way, bend

UNDERSAMPLED = 0.15
"""Excess of the halves' mean λ_max above which the batch is too small for the level of the sharpness."""


def look(
    context: Context,
    chosen: Chosen,
    part: Reference,
    known: Known,
    *,
    complete: bool,
    products: int,
    max_bytes: int,
    halves: bool,
    follows: bool = False,
) -> Work:
    """One unit of work between two yields: the snapshot with its gradient, then product after product.

    ``follows``: the sharpness is followed from the last look, where it is what the optimizer feels.
    """
    began = time.perf_counter()
    step, share = context.step, context.share
    model, optimizer = context.model, context.optimizer
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    limit = edge(optimizer, named.values()) if optimizer is not None else None
    # What the optimizer feels costs as much again, and of too few examples nothing would be told of it.
    wanted = complete or known.level_of(part, context.reference) >= 1.0 - UNSURE
    shape = metric(optimizer, list(named.values())) if wanted and optimizer is not None else None
    pair = part.halves() if halves else None
    parts = tuple(Hessian(model, context.loss_fn, half) for half in pair) if pair and context.loss_fn else ()
    point = chosen.snapshot()
    came = known.way.come(point, max_bytes) if complete else None
    spent = time.perf_counter() - began
    yield

    def body() -> Generator[None, None, tuple[Survey, Ritz | None]]:
        if follows:
            alone = sharpest_felt(point, known, context.seed, max_bytes)
        else:
            alone = sharpest(point, context.seed, max_bytes, products, known.vector)
        found = yield from survey(
            point,
            complete=complete,
            products=products,
            seed=context.seed,
            max_bytes=max_bytes,
            alone=alone,
        )
        felt = None
        if shape is not None:
            operator = Preconditioned(point, shape.root, shape.decay)
            felt = (
                yield from sharpest_felt(operator, known, context.seed, max_bytes, anew=complete)
            ).extremes.top[0]
        elif limit is not None and not follows:
            known.searched(found.krylov)
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
            known.way = Way()
            raise NotMeasured(str(error)) from error
        finally:
            spent += time.perf_counter() - began
        yield
    while came is not None and not came.ready():
        yield
    length, bent = bend(came)
    extremes = found.krylov.extremes
    largest: Ritz = extremes.top[0]
    context.notes.pop("curvature", None)
    context.sharpness = known.sharpness = largest.value
    known.vector, known.point = found.krylov.vector, None
    if largest.converged and not complete and not follows:
        if parts:
            known.halves = parts
        if not known.compared:
            known.point = point
    whole = context.reference
    fewer = whole is not None and part.part_of(whole)
    examples = known.excess or (f"{part.examples} of {whole.examples} examples" if whole and fewer else "")
    notes = [examples] if examples else []
    notes += [*chosen.notes, *([found.krylov.remark] if found.krylov.remark else [])]
    if not largest.converged:
        notes.append("λ_max not converged")
    if complete and not extremes.bottom[0].converged:
        notes.append("λ_min not converged: it may be lower")
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
        method=f"Lanczos {extremes.hvps}, {chosen.method}, {eval_mode(model)}",
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
        displacement=length,
        displacement_curvature=bent,
    )
    known.fresh = None
    if shape is not None and felt is not None:
        return [curvature, against(context, part, known, felt, shape.limit, 0.0, step)]
    return [curvature] if limit is None else [curvature, against(context, part, known, largest, *limit, step)]
