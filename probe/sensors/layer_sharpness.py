"""Which layer is sharp: λ_max of each layer's own block of the Hessian, all at one snapshot."""

from __future__ import annotations

from lsmon.protocol.frames import Layers

from ..operators.blocks import blocks
from ..operators.difference import unmoved
from ..operators.ladder import Chosen
from ..survey import sharpest
from .known import NotMeasured, Work
from .sensor import Context


def layer_sharpness(context: Context, chosen: Chosen, max_bytes: int) -> Work:
    """One product with a block between two yields; it runs backward through that part of the graph only."""
    step = context.step
    point = chosen.snapshot()
    yield
    found: dict[str, float] = {}
    try:
        for name, block in blocks(point).items():
            krylov = yield from sharpest(block, context.seed, max_bytes)
            found[name] = krylov.extremes.top[0].value
            yield
        yield from unmoved(point)
    except ValueError as error:
        raise NotMeasured(str(error)) from error
    return [Layers(step=step, names=tuple(found), values={"hessian/max": tuple(found.values())})]
