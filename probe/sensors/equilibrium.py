"""The equilibrium gauge: does the loss still fall because the gradient pulls, or do noise and descent balance?

Takes a batch's two halves apart, at the parameters that the update starts from, once in a while: two backward passes of
half a batch and a Hessian product on the batch before. That gives the temperature without the bias of consecutive
differences, the noise scale, and the gauge R. Where the loop accumulates micro-batches their gradients are used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lsmon.protocol.frames import Scalars
from lsmon.protocol.gauge import INSUFFICIENT, label

from ..algorithms.estimate import Estimate
from ..operators.difference import Difference
from ..operators.hessian import Hessian
from ..operators.snapshot import Snapshot
from ..optimizers import gain, kind, single
from ..readings import Reading, read
from ..reference import Reference, size_of
from .accumulation import Accumulated, Accumulation
from .balance import Noise, Shape, balance, direction, shape
from .full_batch import FullBatch
from .sensor import Context, Finding, Sensor
from .temperature import NEWS, WINDOW, changed, distributed, finite
from .window import FEWEST, Window

LONGEST = 2048
"""Estimates kept for the gauge: with 1000 of them R has an error between 0.04 and 0.3."""

SHORTEST = 200
"""With fewer R has no meaning; doubled until the interval allows a label, so that what is told is recent."""

ALIEN = 0.05
"""1 - cos (18°) between the halves' gradient and the loop's own, above which ``loss_fn`` is not what the loop computes."""


class Equilibrium(Sensor):
    """``temperature/equilibrium`` (R), ``noise/scale``, and ``temperature/noise`` where there are no micro-batches."""

    name = "equilibrium"
    needs = ("model", "optimizer", "loss_fn")
    weight = 4.0

    def __init__(self) -> None:
        self._context: Context | None = None
        self._hooks: Accumulation | None = None
        self._parts = 1
        self._gains: list[float] = []
        self._attempt = 1
        self._form: Shape | None = None
        self._start: dict[str, Tensor] = {}  # the parameters that the update started from
        self._noise: Noise | None = None
        self._consumed: Tensor | None = None
        self._before: Reference | None = None  # the batch of the last turn: its noise is another
        self._differ = False
        self._alive: Tensor | None = None
        self._coming: deque[Reading] = deque()
        self._window = Window(LONGEST)  # the six numbers of ``balance``, and how alien the gradient is
        self._full_batch = FullBatch()
        self._dim = 0.0
        self._fresh = 0

    def expect(self, context: Context) -> None:
        self._context = context
        if self._hooks is None:
            self._hooks = Accumulation(context, contrast=True)
        self._hooks.recording = self._parts > 1
        self._hooks.wanted = True

    def before_update(self, context: Context) -> None:
        hooks = self._hooks
        assert hooks is not None
        if hooks.error is not None:
            raise hooks.error
        if not kind(context.optimizer):
            return
        gains = [gain(group) for group in context.optimizer.param_groups]
        if context.attempt != self._attempt or changed(gains, self._gains):
            self._attempt, self._gains = context.attempt, gains
            self._restart()
        found = hooks.finish()
        if hooks.parts not in (0, self._parts):
            self._parts = hooks.parts
            self._restart()
        named = _trained(context.model)
        self._form, self._noise = shape(context.optimizer, list(named.values())), None
        if self._form is None:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in named.values()]
        self._consumed = _flat([single(gradient) for gradient in gradients])
        if found is None:
            self._form = None  # not every backward pass was seen, so it is not known what the batch is
        elif self._parts == 1:
            self._start = {name: p.detach().clone() for name, p in named.items()}
        elif found.count % 2 and not self._form.plain:
            context.notes[self.name] = "with an odd number of micro-batches only known for plain SGD"
        elif found.totals:
            self._noise = _of_parts(found, context.optimizer, list(named.values()))

    def _restart(self) -> None:
        self._window.clear()
        self._coming.clear()
        self._fresh = 0
        self._speaks(False)

    def _speaks(self, halves: bool) -> None:
        """Whether the temperature is this sensor's; it must not stay so when this one is switched off."""
        if self._context is not None:
            self._context.by_halves = halves

    def measure(self, context: Context) -> Finding | Sequence[Finding]:
        hooks = self._hooks
        if hooks is not None:
            self.aside, hooks.seconds, hooks.wanted = hooks.seconds, 0.0, False
            # In the middle of an accumulation the next micro-batches must be seen too.
            self.busy = self._parts > 1 and self._form is None and hooks.under_way()
        if not kind(context.optimizer):
            context.notes[self.name] = f"known for SGD, Adam and AdamW, not for {type(context.optimizer).__name__}"  # fmt: skip
            return None
        if distributed():
            context.notes[self.name] = "with several ranks the gauge is not measured yet"
            return None
        words = self._full_batch.words(context, self._parts)
        if words:
            context.notes[self.name] = f"{words}: there is no noise to balance the descent"
            return None
        self._estimate(context)
        while self._coming and self._coming[0].ready():
            *numbers, alive = self._coming.popleft().values()
            self._window.add(*numbers)
            self._dim = alive
            self._fresh += 1
        count = len(self._window)
        if self._fresh < max(1, min(count, WINDOW) // NEWS) or count < FEWEST:
            return None
        self._fresh = 0
        found: list[Finding] = [*self._temperature(context), *self._noise_scale(context)]
        if count < SHORTEST:
            context.notes[self.name] = f"{count} of the first {SHORTEST} estimates"
            return found
        context.notes.pop(self.name, None)
        return [*found, *self._gauge(context, count)]

    def _estimate(self, context: Context) -> None:
        """Queue what this update says; it takes a batch that can be cut, and another one before it."""
        form, before = self._form, self._before
        self._form = None
        if context.batch is None:
            if self._parts == 1 or before is None:
                context.notes[self.name] = "pass the batch to step()"
                return
        else:
            self._before = Reference(context.batch)
        noise = self._noise
        if form is None or before is None or self._consumed is None:
            return
        if self._parts == 1:
            halves = Reference(context.batch).halves()
            if halves is None:
                context.notes[self.name] = "the batch cannot be cut into two halves"
                return
            noise = self._of_halves(context, halves, form)
        if noise is None:
            return
        noise = noise if context.clip is not None or self._parts == 1 else _unscaled(noise, self._consumed)
        length = torch.linalg.vector_norm(noise.mean)
        consumed = torch.linalg.vector_norm(self._consumed)
        cosine = (self._consumed @ noise.mean) / (length * consumed)
        factor = torch.ones_like(length)
        if context.clip is not None:
            factor = (consumed / length).clamp_max(1.0)
        along = direction(noise, form, factor)
        product = self._product(context, before, along)
        numbers = balance(
            noise, form, factor, finite(context, self._parts, consecutive=False), along, product
        )
        live = noise.mean != 0
        self._alive = live if self._alive is None else self._alive.logical_or_(live)
        last = torch.stack([1 - cosine.double(), self._alive.sum().double()])
        self._coming.append(read(torch.cat([numbers, last])))
        self._start, self._noise, self._consumed = {}, None, None

    def _of_halves(self, context: Context, halves: tuple[Reference, Reference], form: Shape) -> Noise:
        assert context.loss_fn is not None
        one, other = (
            Snapshot(context.model, context.loss_fn, half).gradient(self._start)[0] for half in halves
        )
        contrast = (one - other) / 2
        squares = contrast.square()
        return Noise((one + other) / 2, contrast, form.rate @ squares, form.metric @ squares)

    def _product(self, context: Context, batch: Reference, vector: Tensor) -> Tensor:
        """H·v on a batch that had no part in this noise."""
        assert context.loss_fn is not None
        if not self._differ:
            try:
                return Hessian(context.model, context.loss_fn, batch).matvec(vector)
            except (RuntimeError, NotImplementedError):  # something in it has no double backward
                self._differ = True
        return Difference(context.model, context.loss_fn, batch).matvec(vector)

    def _temperature(self, context: Context) -> list[Scalars]:
        if self._parts > 1:
            return []  # the other sensor has it, from the same micro-batches and more of them
        self._speaks(True)
        last = min(len(self._window), WINDOW)
        heat, words = self._window.mean(2, last), self._words(context, last)
        names, parts = ("temperature/noise", "temperature/thermal_loss"), (2 * max(self._dim, 1.0), 4.0)
        return [
            Scalars(
                step=context.step,
                values={name: heat.value / part for name, part in zip(names, parts, strict=True)},
                errors={name: heat.se / part for name, part in zip(names, parts, strict=True)},
                words=dict.fromkeys(names, words),
            )
        ]

    def _noise_scale(self, context: Context) -> list[Scalars]:
        """McCandlish et al. 2018, arXiv:1812.06162: B tr(PC)/|∇L|²_P, ratio of window means."""
        last = min(len(self._window), WINDOW)
        ratio = self._window.ratio(3, 4, last)
        if ratio is None or context.batch is None or self._parts > 1:
            return []
        size = size_of(context.batch)
        scale = Estimate(size * ratio.value, size * ratio.se)
        return [_one(context.step, "noise/scale", scale, f"{self._words(context, last)}; B={size}")]

    def _gauge(self, context: Context, count: int) -> list[Scalars]:
        """The latest stretch whose interval allows a label; else all, and "insufficient"."""
        last, said, ratio = SHORTEST, INSUFFICIENT, None
        while said == INSUFFICIENT:
            ratio = self._window.ratio(0, 1, min(last, count))
            said = INSUFFICIENT if ratio is None else label(ratio.value, ratio.se)
            if last >= count:
                break
            last *= 2
        if ratio is None:
            context.notes[self.name] = "the curvature along the noise is not positive: no gauge"
            return []
        return [_one(context.step, "temperature/equilibrium", ratio, f"{said}; {self._words(context, min(last, count))}")]  # fmt: skip

    def _words(self, context: Context, count: int) -> str:
        metric = "Adam" if kind(context.optimizer) == "Adam" else "identity"
        way = f"micro-batches, M={self._parts}" if self._parts > 1 else "two halves of the batch"
        words = [f"{way}, n={count}, {metric} metric, d={self._dim:.0f}"]
        if self._parts == 1:
            words.append("eval mode")
            if self._window.mean(6, min(len(self._window), WINDOW)).value > ALIEN:
                words.append("unreliable: loss_fn gives another gradient than the loop's own")
        return "; ".join(words)

    def close(self) -> None:
        self._speaks(False)
        if self._hooks is not None:
            self._hooks.close()
        self._start, self._noise, self._consumed, self._before, self._alive = {}, None, None, None, None


def _trained(model: Any) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


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


def _one(step: int, name: str, estimate: Estimate, words: str) -> Scalars:
    return Scalars(step=step, values={name: estimate.value}, errors={name: estimate.se}, words={name: words})
