"""Langevin temperature of the step noise, from the gradients that the loop computes anyway.

T = η_eff tr(PC) / 2d with C the covariance of the gradient that the optimizer consumes and P its metric (Mandt,
Hoffman & Blei 2017, arXiv:1704.04289). Where the loop accumulates M micro-gradients δ_j, tr(PC) is estimated without
bias by M/(M-1) Σ |δ_j - δ̄|²_P. Otherwise by |g_t - g_{t-1}|²_P / 2, which is biased upwards, because the weights move
between the two: per mode of curvature h by (2 + a)/(2 - a) with a = ηh for SGD, and by 1 + a + a²/((1 - μ)(2(1 + μ) - a))
for heavy ball.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lsmon.protocol.frames import Scalars

from ..algorithms.estimate import Estimate
from ..optimizers import gain, kind, metric_root, single
from ..readings import Reading, read
from ..reference import size_of
from .accumulation import Accumulated, Accumulation
from .bias import bias_words
from .clipping import Clipping
from .full_batch import FullBatch
from .live_entries import LiveEntries
from .sampling import distributed, finite
from .sensor import Context, Finding, Sensor
from .window import FEWEST, Window, changed

WINDOW = 96
"""Estimates in a full window: about 7 % on a real network."""

NEWS = 8
"""The number is said again when this part of the window is new."""


class _Coming(NamedTuple):
    reading: Reading
    parts: int
    """Backward passes an update; 1 for a difference of consecutive gradients."""
    raw: bool
    """Read before clipping."""


class Temperature(Sensor):
    """``temperature/noise`` and ``temperature/thermal_loss``, with standard errors; by micro-batches ``noise/scale`` too."""

    name = "temperature"
    needs = ("model", "optimizer")
    ceiling = 0.006  # the light sensors together stay below 2 %

    def __init__(self) -> None:
        self._hooks: Accumulation | None = None
        self._parts = 1
        self._gradients: list[Tensor] = []
        self._raw = False  # whether they are from before clipping
        self._taken = -1  # number of the update at which they were consumed
        self._seen = False  # an estimate has been queued since the sensor was last armed
        self._attempt = 1
        self._gains: list[float] = []
        self._live = LiveEntries()
        self._sizes = (0, 0)  # fewest and most examples of the micro-batches that were passed to ``step``
        self._coming: deque[_Coming] = deque()
        self._window = Window(WINDOW)  # η_eff tr(PC), tr(PC), |∇L|²_P and the clip factor of each estimate
        self._clipping = Clipping()
        self._full_batch = FullBatch()
        self._dim = 0.0
        self._fresh = 0

    def expect(self, context: Context) -> None:
        if not kind(context.optimizer):
            raise ValueError(f"known for SGD, Adam and AdamW, not for {type(context.optimizer).__name__}")
        if self._hooks is None:
            self._hooks = Accumulation(context)
        # Copies of a single backward pass's gradient are of use only where the loop clips it afterwards.
        self._hooks.recording = not distributed() and (self._parts > 1 or context.clip is not None)
        self._hooks.wanted = True

    def before_update(self, context: Context) -> None:
        optimizer, hooks = context.optimizer, self._hooks
        assert hooks is not None
        if hooks.error is not None:
            raise hooks.error
        self._begin_anew_if(context)
        found = hooks.finish()
        self.busy = False
        if hooks.parts > 0 and not distributed() and hooks.parts != self._parts:
            self._restart()
            self._parts = hooks.parts
        if self._parts > 1:
            if found is not None and found.totals:
                self._compare_parts(optimizer, found)
            self._gradients = []
            return
        pairs = [
            (group, parameter)
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and not parameter.grad.is_sparse
        ]
        raw = found is not None and len(found.totals) == len(pairs)
        gradients = found.totals if found is not None and raw else [_copy(p.grad) for _, p in pairs]
        comparable = self._taken == context.updates - 1 and raw == self._raw
        if comparable and [g.shape for g in gradients] == [g.shape for g in self._gradients]:
            self._compare_consecutive(optimizer, pairs, gradients)
        else:
            self.busy = True  # the copy is worth nothing unless the next gradient is compared with it
        self._gradients, self._taken, self._raw = gradients, context.updates, raw

    def _begin_anew_if(self, context: Context) -> None:
        gains = [gain(group) for group in context.optimizer.param_groups]
        if context.attempt != self._attempt or changed(gains, self._gains):
            self._attempt, self._gains = context.attempt, gains
            self._restart()

    def _restart(self) -> None:
        self._taken = -1
        self._sizes = (0, 0)
        self._window.clear()
        self._coming.clear()
        self._fresh = 0

    def _compare_parts(self, optimizer: Any, found: Accumulated) -> None:
        """Queue what the micro-gradients of one update say, still on the device."""
        home, parts = found.totals[0].device, found.count
        totals, traces = _gathered(found.lengths(), home), _gathered(found.traces(), home)
        self._queue(optimizer, found.parameters, found.totals, traces, totals, parts)

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
        self._queue(optimizer, [p for _, p in pairs], gradients, traces, torch.zeros_like(traces), 1)

    def _queue(
        self,
        optimizer: Any,
        parameters: list[Tensor],
        gradients: list[Tensor],
        traces: Tensor,
        totals: Tensor,
        parts: int,
    ) -> None:
        """η_eff tr(PC), tr(PC), |g|²_P, |g| before and after clipping, and the number of entries that are alive."""
        home = traces.device
        alive = self._live.count(parameters, gradients).to(home)
        rates = {
            id(p): rate
            for rate, group in zip(self._gains, optimizer.param_groups, strict=True)
            for p in group["params"]
        }
        each = torch.tensor([rates[id(p)] for p in parameters], dtype=torch.float64).to(
            home, non_blocking=True
        )
        before = _gathered(torch._foreach_norm(gradients), home).square().sum().sqrt()
        consumed = [single(p.grad) for p in parameters if p.grad is not None]
        after = _gathered(torch._foreach_norm(consumed), home).square().sum().sqrt()
        numbers = [traces @ each, traces.sum(), totals.sum(), before, after, alive]
        self._coming.append(_Coming(read(torch.stack(numbers)), parts, self._raw or parts > 1))
        self._seen = True

    def measure(self, context: Context) -> Finding | Sequence[Finding]:
        hooks = self._hooks
        if hooks is not None:
            self.aside, hooks.seconds = hooks.seconds, 0.0
            # In the middle of an accumulation the next micro-batches must be seen too.
            self.busy = self.busy or (self._parts > 1 and not self._seen and hooks.under_way())
            hooks.wanted = self._seen = False
        while self._coming and self._coming[0].reading.ready():
            self._take(*self._coming.popleft(), context)
        if context.batch is not None:
            size, (fewest, most) = size_of(context.batch), self._sizes
            self._sizes = min(fewest or size, size), max(most, size)
        quiet = self._full_batch.words(context, self._parts)
        count = len(self._window)
        if count < FEWEST:
            context.notes[self.name] = f"{count} of the first {FEWEST} estimates"
            return None
        if self._fresh < count // NEWS or not self._dim or (context.by_halves and self._parts == 1):
            return None
        self._fresh = 0
        context.notes.pop(self.name, None)
        if quiet:
            return _scalars(context.step, Estimate(0.0, 0.0), 1.0, quiet)
        mean, factor = self._window.mean(0), self._window.mean(3).value
        heat = Estimate(factor * mean.value, factor * mean.se)
        found = _scalars(context.step, heat, self._dim, self._words(context, count, factor))
        return [found, *self._noise_scale(context)] if self._parts > 1 else found

    def _take(self, reading: Reading, parts: int, raw: bool, context: Context) -> None:
        rate_trace, trace, total, before, after, alive = reading.values()
        unit, factor = self._clipping.see(before, after, context.clip, raw=raw)
        rest = finite(context, parts, consecutive=parts == 1) * unit**2
        self._window.add(rate_trace * rest, trace * rest, total * unit**2 - trace * rest, factor)
        self._dim = alive
        self._fresh += 1

    def _noise_scale(self, context: Context) -> list[Scalars]:
        """McCandlish et al. 2018, B tr(PC)/|∇L|²_P: the batch at which noise and gradient are alike."""
        ratio = self._window.ratio(1, 2)
        if ratio is None or context.batch is None:
            return []
        size = self._parts * size_of(context.batch)
        name, words = "noise/scale", f"micro-batches, M={self._parts}, n={len(self._window)}, B={size}"
        return [
            Scalars(
                step=context.step,
                values={name: size * ratio.value},
                errors={name: size * ratio.se},
                words={name: words},
            )
        ]

    def _words(self, context: Context, count: int, factor: float) -> str:
        optimizer = context.optimizer
        adam = kind(optimizer) == "Adam"
        way = f"micro-batches, M={self._parts}" if self._parts > 1 else "consecutive differences"
        words = [f"{way}, n={count}, {'Adam' if adam else 'identity'} metric, d={self._dim:.0f}"]
        words += self._clipping.words(context.clip, factor)
        if self._parts > 1:
            fewest, most = self._sizes
            if fewest < most:
                # Weighted alike their gradients have one mean, and all is unbiased whatever the sizes.
                words.append(f"unequal micro-batches, {fewest} to {most}: too high where the loop weights them by size")  # fmt: skip
            return "; ".join(words)
        words.append(bias_words(optimizer, context.sharpness))
        return "; ".join(words)

    def close(self) -> None:
        if self._hooks is not None:
            self._hooks.close()
        self._gradients = []
        self._live.forget()
        self._coming.clear()


def _gathered(pieces: Any, home: torch.device) -> Tensor:
    """0-d tensors of any devices as one vector in double precision."""
    return torch.stack([piece.to(home) for piece in pieces]).double()


def _copy(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.detach().to(single(gradient).dtype, copy=True)


def _scalars(step: int, heat: Estimate, dim: float, words: str) -> Scalars:
    """T = η tr(PC) / 2d and dT/2, from ``heat`` = η tr(PC)."""
    return Scalars(
        step=step,
        values={"temperature/noise": heat.value / (2 * dim), "temperature/thermal_loss": heat.value / 4},
        errors={"temperature/noise": heat.se / (2 * dim), "temperature/thermal_loss": heat.se / 4},
        words={"temperature/noise": words, "temperature/thermal_loss": words},
    )
