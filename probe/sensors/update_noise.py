"""The noise of one update: what its batch's parts say of it, by the gradients of the loop's own micro-batches where it
accumulates, and by two backward passes over the halves of a batch where it does not."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..operators.snapshot import Snapshot
from ..optimizers import gain, single
from ..reference import Reference
from .accumulation import Accumulated, Accumulation
from .balance import Noise, Shape, shape
from .sensor import Context


class UpdateNoise:
    """Looks on as an update begins, and tells its noise once the update is done."""

    def __init__(self, context: Context) -> None:
        self.parts = 1
        """Backward passes that an update has as a rule."""
        self.form: Shape | None = None
        """The optimizer as the update began; None when what it consumed was not all seen."""
        self.consumed: Tensor | None = None
        """The gradient that the optimizer consumed, (dim,)."""
        self.trouble = ""
        """Why there is no noise though there is an update, in words."""
        self._hooks = Accumulation(context, contrast=True)
        self._start: dict[str, Tensor] = {}  # the parameters that the update started from
        self._noise: Noise | None = None

    @property
    def under_way(self) -> bool:
        """Some of the next update's micro-batches have passed already."""
        return self.parts > 1 and self.form is None and self._hooks.under_way()

    def seconds(self) -> float:
        """Spent in the hooks since this was asked last."""
        spent, self._hooks.seconds = self._hooks.seconds, 0.0
        return spent

    def expect(self) -> None:
        self._hooks.recording = self.parts > 1
        self._hooks.watch()

    def rest(self) -> None:
        self._hooks.rest()

    def begin(self, context: Context) -> bool:
        """As ``optimizer.step`` begins; true when the number of micro-batches is another than before."""
        if self._hooks.error is not None:
            raise self._hooks.error
        found = self._hooks.finish()
        others = self._hooks.parts not in (0, self.parts)
        if others:
            self.parts = self._hooks.parts
        named = {name: p for name, p in context.model.named_parameters() if p.requires_grad}
        self.form, self._noise, self.trouble = shape(context.optimizer, list(named.values())), None, ""
        if self.form is None:
            return others
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in named.values()]
        self.consumed = _flat([single(gradient) for gradient in gradients])
        if found is None:
            self.form = None  # not every backward pass was seen, so it is not known what the batch is
        elif self.parts == 1:
            self._start = {name: p.detach().to(single(p).dtype, copy=True) for name, p in named.items()}
        elif found.count % 2 and not self.form.plain:
            self.trouble = "with an odd number of micro-batches only known for plain SGD"
        elif found.totals:
            self._noise = _of_parts(found, context.optimizer, list(named.values()))
        return others

    def of(self, context: Context) -> Noise | None:
        """The noise of the update that began last, in the unit of what was consumed."""
        if self.form is None or self.consumed is None:
            return None
        if self.parts > 1:
            noise = self._noise
            return noise if noise is None or context.clip is not None else _unscaled(noise, self.consumed)
        reference = context.reference
        if reference is not None and not context.divided:
            return None  # it is not known yet whether half a batch is one
        if reference is not None and reference.thinnest == 1:
            self.trouble = (
                f"the batch cannot be cut into two halves: {reference.remark.partition('since ')[2]}"
            )
            return None
        halves = Reference(context.batch).halves()
        if halves is None:
            self.trouble = "the batch cannot be cut into two halves"
            return None
        assert context.loss_fn is not None
        one, other = (
            Snapshot(context.model, context.loss_fn, half).gradient(self._start)[0] for half in halves
        )
        # Of an odd batch they are unequal: the mean and the variance of the whole batch's gradient from those of its parts.
        share = halves[0].examples / (halves[0].examples + halves[1].examples)
        mean, contrast = share * one + (1 - share) * other, math.sqrt(share * (1 - share)) * (one - other)
        squares = contrast.square()
        return Noise(mean, contrast, self.form.rate @ squares, self.form.metric @ squares)

    def forget(self) -> None:
        """Let go of the copies until the next update."""
        self.form = self.consumed = self._noise = None
        self._start = {}

    def close(self) -> None:
        self._hooks.close()
        self.forget()


def _flat(pieces: list[Tensor]) -> Tensor:
    return torch.cat([
        (piece.to_dense() if piece.is_sparse else piece).detach().reshape(-1).to(pieces[0].device) for piece in pieces
    ])  # fmt: skip


def _of_parts(found: Accumulated, optimizer: Any, parameters: list[Tensor]) -> Noise:
    """From micro-gradients; parameters that are not among them have none."""
    places = {id(p): place for place, p in enumerate(found.parameters)}
    rates = {id(p): gain(group) for group in optimizer.param_groups for p in group["params"]}

    def whole(pieces: list[Tensor]) -> Tensor:
        return _flat([pieces[places[id(p)]] if id(p) in places else torch.zeros_like(single(p)) for p in parameters])  # fmt: skip

    traces = found.traces()
    trace = torch.stack([rates[id(p)] * each for p, each in zip(found.parameters, traces, strict=True)]).sum()
    mean = whole(found.totals)
    return Noise(mean, whole(found.contrasts), trace.to(mean), torch.stack(traces).sum().to(mean))


def _unscaled(noise: Noise, consumed: Tensor) -> Noise:
    """In the unit of what the optimizer consumed: the backward passes may have had a loss scale."""
    unit = torch.linalg.vector_norm(consumed) / torch.linalg.vector_norm(noise.mean)
    return Noise(noise.mean * unit, noise.contrast * unit, noise.trace * unit**2, noise.plain_trace * unit**2)
