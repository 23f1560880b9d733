"""The ratio to the optimizer's own edge alone, where the plain sharpness does not tell it: Adam's, in its metric.

A complete measurement has it too, but comes seldom; near the edge this one comes in place of the plain sharpness.
"""

from __future__ import annotations

from ..operators.ladder import Chosen
from ..operators.metric import metric
from ..operators.preconditioned import Preconditioned
from ..reference import Reference
from ..survey import sharpest
from .known import Known, NotMeasured, Work
from .look import against
from .sensor import Context


def edge_look(context: Context, chosen: Chosen, part: Reference, known: Known, max_bytes: int) -> Work:
    """One unit of work between two yields; nothing is found before Adam's first update, when it has no metric."""
    step = context.step
    shape = metric(context.optimizer, [p for p in context.model.parameters() if p.requires_grad])
    if shape is None:
        return []
    point = chosen.snapshot()
    yield
    try:
        found = yield from sharpest(Preconditioned(point, shape.root, shape.decay), context.seed, max_bytes)
    except ValueError as error:
        raise NotMeasured(str(error)) from error
    return [against(context, part, known, found.extremes.top[0], shape.limit, 0.0, step)]
