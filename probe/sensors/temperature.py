"""Langevin temperature of the step noise, from the differences of consecutive gradients.

T = η_eff tr(PC) / 2d with C the covariance of the gradient that the optimizer consumes and P its metric (Mandt,
Hoffman & Blei 2017, arXiv:1704.04289); tr(PC) is estimated by |g_t - g_{t-1}|²_P / 2. This takes no backward pass of
its own and is biased upwards, because the weights move between the two: per mode of curvature h by (2 + a)/(2 - a)
with a = ηh for SGD, and by 1 + a + a²/((1 - μ)(2(1 + μ) - a)) for heavy ball.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import torch
from torch import Tensor

from lsmon.protocol.frames import Scalars

from ..optimizers import gain, kind, learning_rate, metric_root
from ..readings import Reading, read
from .sensor import Context, Finding, Sensor

FEWEST = 24
"""A single estimate has a relative deviation of 0.7: fewer than 20 averaged are not worth a number; 8 blocks of 3."""

WINDOW = 96
"""Estimates in a full window: about 7 % on a real network."""

BLOCKS = 8
"""Contiguous blocks whose means give the standard error, since neighbouring estimates share a gradient."""

RATE_CHANGE = 0.1
"""A window does not span a larger relative change of the learning rate."""

LIVE_EVERY = 8
"""Comparisons from one count of live entries to the next: it changes slowly and costs as much as the rest."""

UNRELIABLE = 1.5
"""η λ_max above which the weights move too far between two gradients for their difference to be noise."""


class Temperature(Sensor):
    """``temperature/noise`` and ``temperature/thermal_loss``, with standard errors."""

    name = "temperature"
    needs = ("model", "optimizer")

    def __init__(self) -> None:
        self._gradients: list[Tensor] = []
        self._taken = -1  # number of the update at which they were consumed
        self._attempt = 1
        self._gains: list[float] = []
        self._live: dict[int, Tensor] = {}  # parameter → which of its entries ever had a gradient
        self._alive = torch.zeros(())
        self._compared = 0
        self._coming: deque[Reading] = deque()
        self._window: deque[float] = deque(maxlen=WINDOW)  # η_eff tr(PC) of each estimate
        self._dim = 0.0
        self._fresh = 0

    def before_update(self, context: Context) -> None:
        optimizer = context.optimizer
        if not kind(optimizer):
            raise ValueError(f"known for SGD, Adam and AdamW, not for {type(optimizer).__name__}")
        gains = [gain(group) for group in optimizer.param_groups]
        if context.attempt != self._attempt or _changed(gains, self._gains):
            self._attempt, self._gains, self._taken = context.attempt, gains, -1
            self._window.clear()
            self._coming.clear()
            self._fresh = 0
        pairs = [
            (rate, group, parameter)
            for rate, group in zip(gains, optimizer.param_groups, strict=True)
            for parameter in group["params"]
            if parameter.grad is not None and not parameter.grad.is_sparse
        ]
        gradients = [_copy(parameter.grad) for _, _, parameter in pairs]
        if self._taken == context.updates - 1 and [g.shape for g in gradients] == [
            g.shape for g in self._gradients
        ]:
            self._compare(optimizer, pairs, gradients)
            self.busy = False
        else:
            self.busy = True  # the copy is worth nothing unless the next gradient is compared with it
        self._gradients, self._taken = gradients, context.updates

    def _compare(
        self, optimizer: Any, pairs: list[tuple[float, Any, Tensor]], gradients: list[Tensor]
    ) -> None:
        """Queue η_eff tr(PC) and the number of entries that are alive, both still on the device."""
        if not pairs:
            return
        differences = torch._foreach_sub(gradients, self._gradients)
        if kind(optimizer) == "Adam":
            roots = [metric_root(optimizer, group, parameter) for _, group, parameter in pairs]
            known = [root for root in roots if root is not None]
            if len(known) < len(roots):
                return
            torch._foreach_mul_(differences, known)
        home = gradients[0].device
        norms = torch.stack([piece.to(home) for piece in torch._foreach_norm(differences)]).double()
        halves = torch.tensor([rate / 2 for rate, _, _ in pairs], dtype=torch.float64).to(
            home, non_blocking=True
        )
        if self._compared % LIVE_EVERY == 0:
            self._count_live([parameter for _, _, parameter in pairs], gradients, home)
        self._compared += 1
        self._coming.append(read(torch.stack([norms.square() @ halves, self._alive])))

    def _count_live(self, parameters: list[Tensor], gradients: list[Tensor], home: torch.device) -> None:
        """d: entries that ever had a gradient; frozen and dead ones are no degrees of freedom."""
        for parameter, gradient in zip(parameters, gradients, strict=True):
            seen = gradient != 0
            known = self._live.get(id(parameter))
            self._live[id(parameter)] = seen if known is None else known.logical_or_(seen)
        self._alive = torch.stack([mask.sum().to(home) for mask in self._live.values()]).sum().double()

    def measure(self, context: Context) -> Finding:
        while self._coming and self._coming[0].ready():
            trace, alive = self._coming.popleft().values()
            if math.isfinite(trace):  # a step that overflowed is another sensor's news
                self._window.append(trace)
                self._dim = alive
                self._fresh += 1
        count = len(self._window)
        if count < FEWEST:
            context.notes[self.name] = f"{count} of the first {FEWEST} estimates"
            return None
        if self._fresh < count // BLOCKS or not self._dim:
            return None
        self._fresh = 0
        context.notes.pop(self.name, None)
        mean, error = mean_and_error(list(self._window))
        words = self._words(context, count)
        return Scalars(
            step=context.step,
            values={"temperature/noise": mean / (2 * self._dim), "temperature/thermal_loss": mean / 4},
            errors={"temperature/noise": error / (2 * self._dim), "temperature/thermal_loss": error / 4},
            words={"temperature/noise": words, "temperature/thermal_loss": words},
        )

    def _words(self, context: Context, count: int) -> str:
        optimizer = context.optimizer
        adam = kind(optimizer) == "Adam"
        words = [
            f"consecutive differences, n={count}, {'Adam' if adam else 'identity'} metric, d={self._dim:.0f}"
        ]
        if context.clip is not None:
            words.append(f"gradients after clipping at {context.clip:g}")
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
        self._gradients = []
        self._live = {}
        self._coming.clear()


def mean_and_error(estimates: list[float]) -> tuple[float, float]:
    """Mean, and its standard error from the means of 8 contiguous blocks (the oldest remainder is left out)."""
    size = len(estimates) // BLOCKS
    used = estimates[len(estimates) - size * BLOCKS :]
    means = [sum(used[i * size : (i + 1) * size]) / size for i in range(BLOCKS)]
    mean = sum(means) / BLOCKS
    return mean, math.sqrt(sum((m - mean) ** 2 for m in means) / (BLOCKS - 1) / BLOCKS)


def bias_bound(a: float, momentum: float = 0.0, nesterov: bool = False) -> float | None:
    """The factor by which the estimate is too high in a mode with a = η h; it grows with a. None where not known."""
    if nesterov or a >= 2 * (1 + momentum):
        return None
    if not momentum:
        return (2 + a) / (2 - a)
    return 1 + a + a * a / ((1 - momentum) * (2 * (1 + momentum) - a))


def _changed(gains: list[float], before: list[float]) -> bool:
    return len(gains) != len(before) or any(
        abs(new - old) > RATE_CHANGE * abs(old) for new, old in zip(gains, before, strict=True)
    )


def _copy(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    half = gradient.dtype in (torch.float16, torch.bfloat16)
    return gradient.detach().float() if half else gradient.detach().clone()
