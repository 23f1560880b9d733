"""What one measurement of curvature does at its snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

from msgspec import structs

from lsmon.protocol.edge import UNSURE
from lsmon.protocol.frames import Ritz

from ..algorithms.lanczos import Krylov
from ..operators.difference import unmoved
from ..operators.hessian import Hessian
from ..operators.ladder import Chosen
from ..operators.metric import metric
from ..operators.preconditioned import Preconditioned
from ..optimizers import edge
from ..reference import Reference
from ..survey import Survey, survey
from .edge_look import against, sharpest_felt
from .known import Known, NotMeasured, Work
from .report import report
from .sensor import Context, Finding
from .way import Way, bend


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
    tell: Callable[[list[Finding]], None] | None = None,
) -> Work:
    """One unit of work between two yields: the snapshot with its gradient, then product after product.

    ``follows``: the sharpness is followed from the last look, where it is what the optimizer feels. ``tell``: is told the
    sharpness of a complete measurement as soon as it is found.
    """
    began = time.perf_counter()
    step = context.step
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

    told = False
    sooner: list[Survey] = []

    def compared(edge: tuple[float, float] | None, krylov: Krylov) -> list[Finding]:
        return [] if edge is None else [against(context, part, known, krylov.extremes.top[0], *edge, step)]

    def body() -> Generator[None, None, tuple[Survey, Ritz | None]]:
        found = yield from survey(
            point,
            complete=complete,
            products=products,
            seed=context.seed,
            max_bytes=max_bytes,
            alone=sharpest_felt(point, known, context.seed, max_bytes) if follows else None,
            last=known.vector,
            tell=sooner.append if tell else None,
        )
        felt = None
        if shape is not None:
            operator = Preconditioned(point, shape.root, shape.decay)
            felt = (
                yield from sharpest_felt(
                    operator, known, context.seed, max_bytes, anew=complete and known.followed > 0
                )
            ).extremes.top[0]
        elif limit is not None and not follows and not told:
            known.searched(found.krylov)
        yield from unmoved(point)
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
        if tell and sooner:
            alone = sooner.pop()
            try:
                yield from unmoved(point)
            except ValueError as error:
                raise NotMeasured(str(error)) from error
            known.take_over(alone.krylov)
            if limit is not None:
                known.searched(alone.krylov)
            context.sharpness, told = known.sharpness, True
            frame = report(context, chosen, part, known, alone, point.dim, step, spent, complete=False)
            tell([frame, *compared(limit, alone.krylov)])
        yield
    while came is not None and not came.ready():
        yield
    largest: Ritz = found.krylov.extremes.top[0]
    context.notes.pop("curvature", None)
    if not told:  # else there are newer ones
        known.take_over(found.krylov)
        context.sharpness = known.sharpness
    if largest.converged and not complete and not follows:
        if parts:
            known.halves = parts
        if not known.compared:
            known.point = point
    length, bent = bend(came)
    frame = structs.replace(
        report(context, chosen, part, known, found, point.dim, step, spent, complete=complete),
        preconditioned=felt,
        displacement=length,
        displacement_curvature=bent,
    )
    if shape is not None and felt is not None:
        return [frame, against(context, part, known, felt, shape.limit, 0.0, step)]
    return [frame, *compared(limit, found.krylov)]
