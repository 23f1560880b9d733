"""The noise of one update's gradient, from the gradients that the loop computes anyway.

tr(PC), with C the covariance of the gradient that the optimizer consumes and P its metric, is estimated without bias by
M/(M-1) Σ |δ_j - δ̄|²_P where the loop accumulates M micro-gradients δ_j, and by |g - ḡ|²_P / (W - 1) where W ranks average
their gradients: g is what this rank's backward passes added, ḡ what the optimizer consumes, and no rank has to send
anything. Otherwise by |g_t - g_{t-1}|²_P / 2, which is biased upwards, because the weights move between the two: per mode
of curvature h by (2 + a)/(2 - a) with a = ηh for SGD, and by 1 + a + a²/((1 - μ)(2(1 + μ) - a)) for heavy ball.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..optimizers import gain, kind, metric_root, single
from ..readings import Reading, read
from .accumulation import Accumulated, Accumulation
from .live_entries import LiveEntries
from .sampling import ranks
from .sensor import Context

UNSEEN = 8
"""Updates in a row without a gradient of this rank's own, after which it is not looked for any more."""


class Row(NamedTuple):
    """The numbers of one update, in their order on the device."""

    rate_trace: float
    """η_eff tr(PC)."""
    trace: float
    """tr(PC)."""
    total: float
    """|ḡ|²_P of the whole update; 0 by consecutive differences."""
    before: float
    after: float
    """Norms of the gradient before and after clipping."""
    alive: float
    """Entries that ever had a gradient."""
    shared: float
    """⟨g, ḡ⟩ of this rank's gradient and the average, whose mean is that of ``after``²; 0 in a single process."""


class Coming(NamedTuple):
    reading: Reading
    """Of a Row."""
    parts: int
    """Batches like the loop's own that the update is made of."""
    raw: bool
    """Read before clipping."""


class GradientNoise:
    """Looks on as updates begin; ``taken`` is what the last one said."""

    def __init__(self) -> None:
        self.parts = 1
        """Backward passes that an update has as a rule, of this rank."""
        self.ranks = 1
        """Ranks whose gradients are told apart."""
        self.busy = False
        """What has been seen is worth nothing unless the next update, or the next backward pass, is seen too."""
        self.taken: Coming | None = None
        self._own = True  # an update consumes what this rank's backward passes add
        self._averaged: bool | None = True
        """With several ranks: an update consumes their average; None where it consumes this rank's own gradient, False
        where it is not known what it consumes."""
        self._unseen = 0
        self._hooks: Accumulation | None = None
        self._gradients: list[Tensor] = []
        self._raw = False  # whether they are from before clipping
        self._update = -1  # number of the update at which they were consumed
        self._live = LiveEntries()

    @property
    def batches(self) -> int:
        """Batches like the loop's own that an update is made of."""
        return self.ranks * self.parts

    @property
    def way(self) -> str:
        if self.ranks > 1:
            return f"ranks as micro-batches, M={self.ranks}"
        return f"micro-batches, M={self.parts}" if self.parts > 1 else "consecutive differences"

    def expect(self, context: Context) -> None:
        if self._hooks is None:
            self._hooks = Accumulation(context)
        several = ranks(context)
        # Behind clipping the average is known up to a factor only.
        self.ranks = several if self._averaged and context.clip is None else 1
        # Copies of a single backward pass's gradient are of use only where the loop clips it afterwards.
        own = several == 1 or self._averaged is None
        self._hooks.recording = self.ranks > 1 or (own and (self.parts > 1 or context.clip is not None))
        self._own = own
        self._hooks.watch()

    def begin(self, context: Context) -> bool:
        """As ``optimizer.step`` begins; true when the number of micro-batches is another than before."""
        optimizer, hooks = context.optimizer, self._hooks
        assert hooks is not None
        if hooks.error is not None:
            raise hooks.error
        found = hooks.finish()
        self.busy, self.taken = False, None
        others = hooks.parts not in (0, self.parts) and (self._own or self.ranks > 1)
        if others:
            self.parts, self._update = hooks.parts, -1
        if self.ranks > 1:
            self._compare_ranks(optimizer, found)
            return others
        if self.parts > 1:
            if found is not None and found.totals:
                self._compare_parts(optimizer, found)
            self._gradients = []
            return others
        pairs = [
            (group, parameter)
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and not parameter.grad.is_sparse
        ]
        raw = found is not None and len(found.totals) == len(pairs)
        gradients = found.totals if found is not None and raw else [_copy(p.grad) for _, p in pairs]
        comparable = self._update == context.updates - 1 and raw == self._raw
        if comparable and [g.shape for g in gradients] == [g.shape for g in self._gradients]:
            self._compare_consecutive(optimizer, pairs, gradients)
        else:
            self.busy = True  # the copy is worth nothing unless the next gradient is compared with it
        self._gradients, self._update, self._raw = gradients, context.updates, raw
        return others

    def restart(self) -> None:
        """What was seen last is not comparable with what comes."""
        self._update = -1

    def refuse(self, *, alone: bool) -> None:
        """The ranks do not average their gradients: each is ``alone``, or it is not known what they do."""
        self._averaged = None if alone else False
        self.ranks = self.parts = 1
        self.restart()

    def rest(self) -> float:
        """The step is over. Seconds that the hooks have taken since the last time."""
        hooks = self._hooks
        if hooks is None:
            return 0.0
        spent, hooks.seconds = hooks.seconds, 0.0
        # In the middle of an accumulation the next micro-batches must be seen too.
        self.busy = self.busy or (self.batches > 1 and self.taken is None and hooks.under_way())
        self.taken = None
        hooks.rest()
        return spent

    def _compare_parts(self, optimizer: Any, found: Accumulated) -> None:
        """What the micro-gradients of one update say."""
        home, parts = found.totals[0].device, found.count
        totals, traces = _gathered(found.lengths(), home), _gathered(found.traces(), home)
        self._take(optimizer, found.parameters, found.totals, traces, totals, parts=parts, raw=True)

    def _compare_ranks(self, optimizer: Any, found: Accumulated | None) -> None:
        """What this rank's gradient says beside the average of all."""
        self._unseen = 0 if found is not None else self._unseen + 1
        if found is None:
            if self._unseen >= UNSEEN:
                self.refuse(alone=False)
            return
        consumed = [single(p.grad) for p in found.parameters if p.grad is not None and not p.grad.is_sparse]
        if [g.shape for g in consumed] != [g.shape for g in found.totals]:  # each rank has a shard of them
            self.refuse(alone=False)
            return
        home = consumed[0].device
        differences = torch._foreach_sub(found.totals, consumed)
        roots = [root for root in found.roots if root is not None]
        whole = torch._foreach_mul(consumed, roots) if roots else consumed
        if roots:
            torch._foreach_mul_(differences, roots)
        traces = _gathered(torch._foreach_norm(differences), home).square() / (self.ranks - 1)
        totals = _gathered(torch._foreach_norm(whole), home).square()
        shared = _gathered([(g * c).sum() for g, c in zip(found.totals, consumed, strict=True)], home).sum()
        self._take(optimizer, found.parameters, consumed, traces, totals, shared, parts=self.batches)

    def _compare_consecutive(
        self, optimizer: Any, pairs: list[tuple[Any, Tensor]], gradients: list[Tensor]
    ) -> None:
        if not pairs:
            return
        differences = torch._foreach_sub(gradients, self._gradients)
        if kind(optimizer) == "Adam":
            roots = [metric_root(optimizer, group, parameter) for group, parameter in pairs]
            known = [root for root in roots if root is not None]
            if len(known) < len(roots):
                return
            torch._foreach_mul_(differences, known)
        home = gradients[0].device
        traces = _gathered(torch._foreach_norm(differences), home).square() / 2
        self._take(
            optimizer, [p for _, p in pairs], gradients, traces, torch.zeros_like(traces), raw=self._raw
        )

    def _take(
        self,
        optimizer: Any,
        parameters: list[Tensor],
        gradients: list[Tensor],
        traces: Tensor,
        totals: Tensor,
        shared: Tensor | None = None,
        *,
        parts: int = 1,
        raw: bool = False,
    ) -> None:
        """Queue a Row, still on the device; ``traces`` and ``totals`` by parameter."""
        home = traces.device
        alive = self._live.count(parameters, gradients).to(home)
        rates = {id(p): gain(group) for group in optimizer.param_groups for p in group["params"]}
        each = torch.tensor([rates[id(p)] for p in parameters], dtype=torch.float64).to(
            home, non_blocking=True
        )
        before = after = _gathered(torch._foreach_norm(gradients), home).square().sum().sqrt()
        if raw:
            consumed = [single(p.grad) for p in parameters if p.grad is not None]
            after = _gathered(torch._foreach_norm(consumed), home).square().sum().sqrt()
        both = torch.zeros_like(before) if shared is None else shared
        row = [traces @ each, traces.sum(), totals.sum(), before, after, alive, both]
        self.taken = Coming(read(torch.stack(row)), parts, raw)

    def close(self) -> None:
        if self._hooks is not None:
            self._hooks.close()
        self._gradients, self.taken = [], None
        self._live.forget()


def _gathered(pieces: Any, home: torch.device) -> Tensor:
    """0-d tensors of any devices as one vector in double precision."""
    return torch.stack([piece.to(home) for piece in pieces]).double()


def _copy(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.detach().to(single(gradient).dtype, copy=True)
