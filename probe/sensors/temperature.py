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
from ..optimizers import gain, kind, learning_rate, metric_root, single
from ..readings import Reading, read
from ..reference import size_of
from .accumulation import Accumulated, Accumulation
from .clipping import Clipping
from .full_batch import FullBatch
from .sensor import Context, Finding, Sensor
from .window import FEWEST, Window

WINDOW = 96
"""Estimates in a full window: about 7 % on a real network."""

RATE_CHANGE = 0.1
"""A window does not span a larger relative change of the learning rate."""

LIVE_EVERY = 8
"""Comparisons from one count of live entries to the next: it changes slowly and costs as much as the rest."""

NEWS = 8
"""The number is said again when this part of the window is new."""

UNRELIABLE = 1.5
"""η λ_max above which the weights move too far between two gradients for their difference to be noise."""


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
        self._live: dict[int, Tensor] = {}  # parameter → which of its entries ever had a gradient
        self._alive = torch.zeros(())
        self._compared = 0
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
        if self._compared % LIVE_EVERY == 0:
            self._count_live(parameters, gradients, home)
        self._compared += 1
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
        numbers = [traces @ each, traces.sum(), totals.sum(), before, after, self._alive]
        self._coming.append(_Coming(read(torch.stack(numbers)), parts, self._raw or parts > 1))
        self._seen = True

    def _count_live(self, parameters: list[Tensor], gradients: list[Tensor], home: torch.device) -> None:
        """d: entries that ever had a gradient; frozen and dead ones are no degrees of freedom."""
        for parameter, gradient in zip(parameters, gradients, strict=True):
            seen = gradient != 0
            known = self._live.get(id(parameter))
            self._live[id(parameter)] = seen if known is None else known.logical_or_(seen)
        self._alive = torch.stack([mask.sum().to(home) for mask in self._live.values()]).sum().double()

    def measure(self, context: Context) -> Finding | Sequence[Finding]:
        hooks = self._hooks
        if hooks is not None:
            self.aside, hooks.seconds = hooks.seconds, 0.0
            # In the middle of an accumulation the next micro-batches must be seen too.
            self.busy = self.busy or (self._parts > 1 and not self._seen and hooks.under_way())
            hooks.wanted = self._seen = False
        while self._coming and self._coming[0].reading.ready():
            self._take(*self._coming.popleft(), context)
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
            return "; ".join(words)
        if adam or context.sharpness is None:
            words.append("upward bias not known")  # for Adam it takes the sharpness in its own metric
            return "; ".join(words)
        a = max(learning_rate(g) for g in optimizer.param_groups) * max(0.0, context.sharpness)
        group = optimizer.param_groups[0]
        bound = bias_bound(a, group["momentum"], group["nesterov"])
        if a > UNRELIABLE:
            words.append(f"unreliable: ηλ_max={a:.2g} is above {UNRELIABLE}")
        elif bound is None:
            words.append("upward bias not known")
        else:
            words.append(f"at most {100 * (bound - 1):.2g} % too high")
        return "; ".join(words)

    def close(self) -> None:
        if self._hooks is not None:
            self._hooks.close()
        self._gradients = []
        self._live = {}
        self._coming.clear()


def bias_bound(a: float, momentum: float = 0.0, nesterov: bool = False) -> float | None:
    """The factor by which the estimate is too high in a mode with a = η h; it grows with a. None where not known."""
    if nesterov or a >= 2 * (1 + momentum):
        return None
    if not momentum:
        return (2 + a) / (2 - a)
    return 1 + a + a * a / ((1 - momentum) * (2 * (1 + momentum) - a))


def changed(gains: list[float], before: list[float]) -> bool:
    return len(gains) != len(before) or any(
        abs(new - old) > RATE_CHANGE * abs(old) for new, old in zip(gains, before, strict=True)
    )


def finite(context: Context, parts: int, *, consecutive: bool) -> float:
    """What drawing B of N without replacement does to an estimate: the noise is S²/B (1 - B/N) (Cochran 1977, section
    2.6), parts of a batch estimate S²/B, and consecutive batches that, but for one pair in N/B, which two epochs share and
    which estimates the noise itself: S²/B (1 - B²/N²) on average."""
    if context.examples is None or context.batch is None:
        return 1.0
    share = min(1.0, parts * size_of(context.batch) / context.examples)
    return 1.0 / (1.0 + share) if consecutive else 1.0 - share


def distributed() -> bool:
    """Several ranks average their gradients after each has added its own: then only the sum is that of the optimizer."""
    ranks = torch.distributed
    return ranks.is_available() and ranks.is_initialized() and ranks.get_world_size() > 1


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
