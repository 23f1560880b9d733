"""The gradients of the micro-batches, as a loop that accumulates adds them up: read while they are added.

A hook behind each parameter's accumulation sees what one backward pass added to ``.grad``; no further backward pass,
and nothing of the loop's own is touched. The sum is that of the gradient before clipping, which no hook of the
optimizer sees. Between two measurements only one parameter has a hook, to know when an update's first backward pass has
been missed: a call into Python behind each parameter of each step would cost a small model's training a percent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..optimizers import kind, metric_root, single
from ..signals import heed
from .sensor import Context

PERSISTENT = 3
"""Updates in a row with another number of micro-batches before that is the loop's: the last of an epoch may have fewer."""


@dataclass(slots=True)
class _Part:
    """One parameter between two updates."""

    group: int = 0
    """Its place among the optimizer's groups, which are other objects after ``load_state_dict``."""
    root: Tensor | None = None
    """√P; None where P is the identity."""
    update: int = -1
    count: int = 0
    version: int = 0
    grad: int = 0
    total: Tensor | None = None
    """Σ δ_j so far, where δ_j is what the j-th backward pass added."""
    square: Tensor | None = None
    """Σ |δ_j|²_P, shape ()."""
    contrast: Tensor | None = None
    """δ_1 - δ_2 + δ_3 - ..."""


@dataclass(slots=True)
class Accumulated:
    """The gradients of one update. The lists run over the parameters that received one."""

    count: int
    """M, the backward passes."""
    parameters: list[Tensor] = field(default_factory=list)
    totals: list[Tensor] = field(default_factory=list)
    """What would be consumed without clipping, in single precision at least; in the unit of the loss scale, if any."""
    roots: list[Tensor | None] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)
    contrasts: list[Tensor] = field(default_factory=list)
    """A vector of mean zero whose covariance is that of the total, for an even M."""

    def lengths(self) -> list[Tensor]:
        """|G|²_P of the total of each parameter, shape ()."""
        return [
            torch.linalg.vector_norm(total if root is None else total * root).double().square()
            for total, root in zip(self.totals, self.roots, strict=True)
        ]

    def traces(self) -> list[Tensor]:
        """Unbiased estimate of tr(PC) of each parameter for M ≥ 2, C the covariance of the total, shape ()."""
        spread = self.count / (self.count - 1)
        return [
            spread * (square - length / self.count)
            for square, length in zip(self.squares, self.lengths(), strict=True)
        ]


class Accumulation:
    """Watches the parameters of one optimizer from ``watch`` to ``rest``. Faults stay in ``error``: a hook runs in training."""

    def __init__(self, context: Context, *, contrast: bool = False) -> None:
        self.recording = False
        """Whether copies are kept; else backward passes are only counted."""
        self.error: Exception | None = None
        self.seconds = 0.0
        """Spent in the hooks since it was last set to zero."""
        self.parts = 0
        """Backward passes that an update has as a rule; 0 before the first was seen whole."""
        self._watching = False
        self._others = 0
        self._context = context
        self._contrast = contrast
        self._missed = -1  # an update of which not everything was seen
        self._parts: dict[int, _Part] = {}
        self._handles: dict[int, Any] = {}
        self._sentinel = 0
        """The parameter whose hook stays: one that had a gradient in the last update that was seen."""

    def watch(self) -> None:
        """From the next backward pass on."""
        self._watching = True
        for place, group in enumerate(self._context.optimizer.param_groups):
            for parameter in group["params"]:
                if id(parameter) not in self._handles and parameter.requires_grad and parameter.is_leaf:
                    self._parts.setdefault(id(parameter), _Part(place))
                    self._handles[id(parameter)] = parameter.register_post_accumulate_grad_hook(self._added)

    def rest(self) -> None:
        """Until it is to watch again."""
        self._watching = False
        stays = self._sentinel if self._sentinel in self._handles else next(iter(self._handles), 0)
        for number in self._handles.keys() - {stays}:
            self._handles.pop(number).remove()

    def _added(self, parameter: Tensor) -> None:
        update = self._context.updates
        if not self._watching or self._missed == update:
            self._missed = update
            return
        began = time.perf_counter()
        try:
            self._take(parameter, update)
        except Exception as error:  # noqa: BLE001  the loop's own backward pass must not feel it
            heed(error)
            self.error, self._watching = error, False
        finally:
            self.seconds += time.perf_counter() - began

    def _take(self, parameter: Tensor, update: int) -> None:
        gradient, part = parameter.grad, self._parts[id(parameter)]
        if gradient is None or gradient.is_sparse:
            self._missed = update
            return
        first = part.update != update
        if first:
            part.update, part.count = update, 0
        elif (part.grad, part.version) != (id(gradient), gradient._version - 1):
            self._missed = update  # cleared, scaled or replaced meanwhile: not a sum any more
            return
        part.count += 1
        part.grad, part.version = id(gradient), gradient._version
        if not self.recording:
            return
        with torch.no_grad():
            now = gradient.detach().to(single(gradient).dtype, copy=True)
            if first:
                part.root = self._root(parameter, part.group)
                part.square, part.contrast, part.total = None, None, None
            added = now if part.total is None else now - part.total
            part.total = now
            if self._contrast:
                sign = 1.0 if part.count % 2 else -1.0
                part.contrast = added.clone() if part.contrast is None else part.contrast.add_(added, alpha=sign)  # fmt: skip
            length = torch.linalg.vector_norm(added if part.root is None else added * part.root).double().square()  # fmt: skip
            part.square = length if part.square is None else part.square + length

    def _root(self, parameter: Tensor, group: int) -> Tensor | None:
        optimizer = self._context.optimizer
        if kind(optimizer) != "Adam":
            return None
        root = metric_root(optimizer, optimizer.param_groups[group], parameter)
        if root is None:
            self._missed = self._context.updates  # the first update of all: there is no metric yet
        return root

    def finish(self) -> Accumulated | None:
        """As the update begins: what was added since the last one; None when not all of it was seen, or when it were more
        or fewer backward passes than as a rule."""
        update = self._context.updates - 1  # it has been counted already
        parts, self._missed, missed = self._parts, -1, self._missed
        seen = [
            (parameter, part)
            for group in self._context.optimizer.param_groups
            for parameter in group["params"]
            if (part := parts.get(id(parameter))) is not None and part.update == update
        ]
        if seen:
            self._sentinel = id(seen[0][0])
        found = None
        counts = {part.count for _, part in seen}
        unseen = any(
            p.grad is not None and parts.get(id(p), _Part()).update != update
            for group in self._context.optimizer.param_groups
            for p in group["params"]
        )
        if missed != update and len(counts) == 1 and not unseen and self._usual(min(counts)):
            found = Accumulated(counts.pop())
            if self.recording:
                found.parameters = [parameter for parameter, _ in seen]
                found.totals = [part.total for _, part in seen if part.total is not None]
                found.roots = [part.root for _, part in seen]
                found.squares = [part.square for _, part in seen if part.square is not None]
                found.contrasts = [part.contrast for _, part in seen if part.contrast is not None]
        for part in parts.values():  # the copies are not held from one measurement to the next
            part.total = part.contrast = part.square = part.root = None
            part.update = -1
        return found

    def _usual(self, count: int) -> bool:
        self._others = 0 if count == self.parts else self._others + 1
        if not self.parts or self._others >= PERSISTENT:
            self.parts, self._others = count, 0
        return count == self.parts

    def under_way(self) -> bool:
        """Whether some of the next update's backward passes are done already."""
        update = self._context.updates
        return self._missed == update or any(part.update == update for part in self._parts.values())

    def close(self) -> None:
        for handle in self._handles.values():
            handle.remove()
        self._handles, self._parts = {}, {}
