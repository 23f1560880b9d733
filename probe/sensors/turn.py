"""One turn of the equilibrium gauge: the numbers that an update and two batches give."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators.difference import Difference
from ..operators.hessian import Hessian
from ..readings import Reading, read
from ..reference import Reference
from .balance import balance, direction
from .sampling import finite
from .sensor import Context
from .update_noise import UpdateNoise


class Turn:
    """Takes the noise from an update's own batch and the curvature along it from that of the turn before."""

    def __init__(self) -> None:
        self.trouble = ""
        """Why the last one gave nothing, in words that may be empty."""
        self._before: Reference | None = None  # the batch of the last turn: its noise is another
        self._differ = False
        self._alive: Tensor | None = None

    def of(self, context: Context, update: UpdateNoise) -> Reading | None:
        """The six numbers of ``balance``, 1 - cos between the noise's gradient and the one consumed, and the entries that
        ever had a gradient; None where something is missing. The update is let go of."""
        form, before, self.trouble = update.form, self._before, ""
        if context.batch is not None:
            self._before = Reference(context.batch)
        elif update.parts == 1 or before is None:
            self.trouble = "pass the batch to step()"
            update.forget()
            return None
        noise = update.of(context) if before is not None else None
        self.trouble = update.trouble
        consumed = update.consumed
        update.forget()
        if form is None or before is None or noise is None or consumed is None:
            return None
        length, took = torch.linalg.vector_norm(noise.mean), torch.linalg.vector_norm(consumed)
        cosine = (consumed @ noise.mean) / (length * took)
        factor = torch.ones_like(length)
        if context.clip is not None:
            factor = (took / length).clamp_max(1.0)
        along = direction(noise, form, factor)
        product = self._product(context, before, along)
        rest = finite(context, update.parts, consecutive=False)
        numbers = balance(noise, form, factor, rest, along, product)
        live = noise.mean != 0
        self._alive = live if self._alive is None else self._alive.logical_or_(live)
        last = torch.stack([1 - cosine.double(), self._alive.sum().double()])
        return read(torch.cat([numbers, last]))

    def _product(self, context: Context, batch: Reference, vector: Tensor) -> Tensor:
        """H·v on a batch that had no part in this noise."""
        assert context.loss_fn is not None
        if not self._differ:
            try:
                return Hessian(context.model, context.loss_fn, batch).matvec(vector)
            except (RuntimeError, NotImplementedError):  # something in it has no double backward
                self._differ = True
        return Difference(context.model, context.loss_fn, batch).matvec(vector)

    def close(self) -> None:
        self._before = self._alive = None
