"""The potential along the run, and how fast it changes: what the equilibrium gauge's energy balance is made of.

An update changes the loss by -η_eff |∇L|² from its gradient and by the heating ½ uᵀH u of its noise. The heating is
measured; so is the change, wherever the loss of the same examples is known at two steps. What the gradient takes is the
difference of the two, known far better than |∇L|² from noisy gradients: to √(2/(nηhd)) of the heating after n steps in
d directions of curvature h, where that takes 3/(ηh√(nd)).
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from typing import Any

from torch import Tensor

from ..algorithms.estimate import Estimate, estimate
from ..operators.snapshot import Snapshot
from ..optimizers import kind
from ..readings import Reading, read
from ..reference import Reference, size_of
from .balance import Shape
from .sensor import Context

FORWARDS = 4
"""Forward passes of the loop's own batch that the loss on the reference may cost a turn, on average: as many as the
turn's other work."""

STRETCHES, FEWEST = 16, 4
"""Pieces of a stretch whose changes are compared for the error: most, and fewest."""


class Energy:
    """U = L + ½κ|θ|² on the reference batch, at steps some turns apart; κ is the coupled weight decay."""

    def __init__(self, longest: int) -> None:
        self._levels: deque[tuple[int, float]] = deque(maxlen=longest)
        self._coming: deque[tuple[int, Reading]] = deque()
        self._wait = 0

    def look(self, context: Context, form: Shape, parts: int) -> None:
        """After the update of this step; nothing where there is no reference yet."""
        reference = context.gather()
        if reference is None or context.loss_fn is None:
            return
        self._wait -= 1
        if self._wait > 0:
            return
        own = max(1, parts * size_of(context.batch)) if context.batch is not None else reference.examples
        self._wait = math.ceil(reference.examples / (FORWARDS * own))
        self._coming.append((context.step, read(_potential(context, reference, form))))

    def take(self) -> None:
        """What has arrived from the device."""
        while self._coming and self._coming[0][1].ready():
            step, reading = self._coming.popleft()
            if math.isfinite(value := reading.values()[0]):
                self._levels.append((step, value))

    def clear(self) -> None:
        self._levels.clear()
        self._coming.clear()
        self._wait = 0

    def rate(self, since: int, memory: float) -> Estimate | None:
        """Change of U per step from ``since`` on; None where too little is known.

        The error is that of a random walk with as many independent pieces as there are, each longer than ``memory``
        steps, in which an optimizer with momentum repeats itself. A loss that is held back by a slope wanders less.
        """
        levels = [level for level in self._levels if level[0] >= since]
        if len(levels) < 2:
            return None
        (start, before), (end, after) = levels[0], levels[-1]
        pieces = min(STRETCHES, len(levels) - 1, int((end - start) / memory))
        if pieces < FEWEST:
            return None
        marks = [levels[round(i * (len(levels) - 1) / pieces)] for i in range(pieces + 1)]
        rate = (after - before) / (end - start)
        length = (end - start) / pieces
        # Changes of pieces that are not quite of one length, brought to the spread that they have in common.
        changes = [
            rate + (v - u - rate * (t - s)) / math.sqrt((t - s) * length)
            for (s, u), (t, v) in pairwise(marks)
        ]
        return Estimate(rate, estimate(changes).se)


def memory(optimizer: Any) -> float:
    """Steps over which an update remembers gradients, twice 1/(1 - μ): pieces shorter than that are not independent."""
    adam = kind(optimizer) == "Adam"
    momentum = max(g["betas"][0] if adam else g["momentum"] for g in optimizer.param_groups)
    return 2.0 / (1.0 - momentum) if momentum < 1 else math.inf


def _potential(context: Context, reference: Reference, form: Shape) -> Tensor:
    """Shape (), at the parameters as they are now."""
    assert context.loss_fn is not None
    point = Snapshot(context.model, context.loss_fn, reference)
    loss = point.loss(point.parameters).double()
    theta = point.flat(list(point.parameters.values()))
    decay = 0.5 * (form.kappa.to(theta) * theta) @ theta
    return loss + decay.double()
