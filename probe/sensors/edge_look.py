"""The ratio to the optimizer's own edge of stability alone, where the plain sharpness does not tell it: Adam's.

Where the curvature is largest as the optimizer feels it is followed from one look to the next, which takes a few products,
and searched for again now and then, since another direction may have overtaken.
"""

from __future__ import annotations

from collections.abc import Generator

from lsmon.protocol.frames import Ritz, Scalars

from ..algorithms.follow import follow
from ..algorithms.lanczos import Krylov
from ..operators.difference import unmoved
from ..operators.ladder import Chosen
from ..operators.metric import metric
from ..operators.operator import Landscape
from ..operators.preconditioned import Preconditioned
from ..reference import Reference
from ..survey import sharpest
from .known import Known, NotMeasured, Work
from .sensor import Context

SEARCHED = 8
"""Looks from one search to the next."""

LOST = 0.95
"""Of the curvature that was found last."""


def edge_look(context: Context, chosen: Chosen, part: Reference, known: Known, max_bytes: int) -> Work:
    """One unit of work between two yields; nothing is found where the metric is not known, as before its first update."""
    step = context.step
    shape = metric(context.optimizer, [p for p in context.model.parameters() if p.requires_grad])
    if shape is None:
        return []
    point = chosen.snapshot()
    yield
    operator = Preconditioned(point, shape.root, shape.decay)
    try:
        found = yield from sharpest_felt(operator, known, context.seed, max_bytes)
        yield from unmoved(point)
    except ValueError as error:
        raise NotMeasured(str(error)) from error
    return [against(context, part, known, found.extremes.top[0], shape.limit, 0.0, step)]


def sharpest_felt(
    operator: Landscape, known: Known, seed: int, max_bytes: int, *, anew: bool = False
) -> Generator[None, None, Krylov]:
    """The largest curvature as the optimizer sees it: followed from the last look, or searched for among all directions
    where there was none, ``anew``, or because it fell so far that something may have been lost on the way."""
    if known.sharpest is not None and not anew and known.followed < SEARCHED:
        found = yield from follow(operator, known.sharpest, max_bytes)
        value = found.extremes.top[0].value
        # Not converged it is a lower bound all the same, and where that has risen a search would tell hardly more.
        if value >= (LOST if found.stopped else 1.0) * known.felt:
            known.sharpest, known.felt, known.followed = found.vector, value, known.followed + 1
            return found
    found = yield from sharpest(operator, seed, max_bytes, last=known.sharpest)
    known.searched(found)
    return found


def against(
    context: Context, part: Reference, known: Known, sharpest: Ritz, limit: float, decay: float, step: int
) -> Scalars:
    """Sharpness relative to the optimizer's own edge; coupled weight decay adds to every eigenvalue.

    Of all examples it may be as low as ``known.level`` of that of the part measured on, and the error says so.
    """
    level = known.level_of(part, context.reference)
    error = sharpest.residual + (1.0 - level) * max(0.0, sharpest.value)
    return Scalars(
        step=step,
        values={"hessian/edge": limit, "stability/ratio": (sharpest.value + decay) / limit},
        errors={"stability/ratio": error / limit},
    )
