"""Curvature for a model that has no gradient to spare: critical sharpness along the update, by forward passes alone."""

from __future__ import annotations

from lsmon.protocol.frames import Scalars

from ..operators.ladder import Chosen
from ..operators.update import update
from .known import Work
from .sensor import Context


def critical(context: Context, chosen: Chosen) -> Work:
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
    words = "; ".join((f"{chosen.method}, {found.passes} passes, along the update", *chosen.notes))
    half = (found.high - found.low) / 2
    return [
        Scalars(
            step=step,
            values={"hessian/critical": found.value},
            errors={"hessian/critical": half},
            words={"hessian/critical": words},
        )
    ]
