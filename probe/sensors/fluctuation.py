"""Yaida's fluctuation-dissipation relation: is the distribution of the weights stationary?

Y = 2η ⟨(θ - θ_ref)·g⟩ / ((1 + μ) ⟨|Δθ|²⟩) is 1 in any stationary state at any learning rate (Yaida 2018,
arXiv:1810.00004, eq. FDR1 with momentum), and for Adam with 1 - β1, 1 + β1 and |Δθ|² in the inverse of its metric. Flat
directions never become stationary: a Y well below 1 while the loss is in equilibrium says that the weights still diffuse.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import torch
from torch import Tensor

from lsmon.protocol.frames import Scalars

from ..optimizers import decoupled, gain, kind, learning_rate, metric_root, single, unknown
from ..readings import Reading, read
from .sensor import Context, Finding, Sensor
from .window import Window, changed

LONGEST = 512
FEWEST = 100
"""At 100 estimates Y is known to 0.01 to 0.12."""

NEVER = 1 << 40
"""Steps until it looks again at an optimizer for which the relation is not known."""

SETTLED = 4
"""θ_ref must be older than the slowest relaxation: at least so many times the stretch that is averaged."""


class Fluctuation(Sensor):
    """``fluctuation/ratio``. Keeps one copy of the parameters."""

    name = "fluctuation"
    needs = ("model", "optimizer")

    def __init__(self) -> None:
        self._reference: list[Tensor] = []
        self._since = 0
        self._steps: deque[int] = deque(maxlen=LONGEST)
        self._gains: list[float] = []
        self._attempt = 1
        self._before: list[Tensor] = []
        self._roots: list[Tensor | None] = []
        self._pull: Tensor | None = None
        self._numbers: Tensor | None = None
        self._coming: deque[tuple[int, Reading]] = deque()
        self._window = Window(LONGEST)
        self._fresh = 0

    def before_update(self, context: Context) -> None:
        optimizer = context.optimizer
        if _unknown(optimizer):
            return
        gains = [gain(group) for group in optimizer.param_groups]
        parameters = _moved(context)
        if (
            changed(gains, self._gains)
            or context.attempt != self._attempt
            or len(parameters) != len(self._reference)
        ):
            self._gains, self._attempt, self._since = gains, context.attempt, context.step
            self._reference = [p.detach().clone() for _, p in parameters]
            self._window.clear()
            self._coming.clear()
            self._steps.clear()
        self._before = [p.detach().clone() for _, p in parameters]
        pulls = []
        for (group, p), reference in zip(parameters, self._reference, strict=True):
            assert p.grad is not None
            force = single(p.grad) + float(group["weight_decay"]) * p.detach()
            beta = group["betas"][0] if kind(optimizer) == "Adam" else group["momentum"]
            rate = learning_rate(group) * ((1 - beta) if kind(optimizer) == "Adam" else 1.0)
            pulls.append(2 * rate / (1 + beta) * ((p.detach() - reference) * force).sum(dtype=torch.float64))
        home = pulls[0].device if pulls else torch.device("cpu")
        self._pull = torch.stack([pull.to(home) for pull in pulls]).sum() if pulls else None
        self._roots = (
            [metric_root(optimizer, group, p) for group, p in parameters] if kind(optimizer) == "Adam" else []
        )

    def after_update(self, context: Context) -> None:
        parameters = _moved(context)
        if self._pull is None or len(parameters) != len(self._before):
            return
        moves = [single(p) - single(before) for (_, p), before in zip(parameters, self._before, strict=True)]
        if self._roots:
            known = [root for root in self._roots if root is not None]
            if len(known) < len(moves):
                return
            moves = [move / root for move, root in zip(moves, known, strict=True)]
        lengths = [move.square().sum(dtype=torch.float64).to(self._pull.device) for move in moves]
        self._numbers = torch.stack([self._pull, torch.stack(lengths).sum()])
        self._before = []

    def measure(self, context: Context) -> Finding:
        if self.every == NEVER:
            return None
        if words := _unknown(
            context.optimizer
        ):  # here, since some are never seen to step (SAM in two halves)
            context.notes[self.name], self.every = words, NEVER
            return None
        if self._numbers is not None:
            self._coming.append((context.step, read(self._numbers)))
            self._numbers = None
        while self._coming and self._coming[0][1].ready():
            step, reading = self._coming.popleft()
            numbers = reading.values()
            if all(map(math.isfinite, numbers)):
                self._window.add(*numbers)
                self._steps.append(step)
                self._fresh += 1
        start = self._since + SETTLED / (SETTLED + 1) * (context.step - self._since)
        count = sum(step >= start for step in self._steps)
        if count < FEWEST:
            context.notes[self.name] = f"{count} of the first {FEWEST} estimates far from the reference"
            return None
        if self._fresh < count // 8:
            return None
        self._fresh = 0
        ratio = self._window.ratio(0, 1, count)
        if ratio is None:
            return None
        context.notes.pop(self.name, None)
        name = "fluctuation/ratio"
        words = f"n={count}, reference of step {self._since}"
        return Scalars(step=context.step, values={name: ratio.value}, errors={name: ratio.se}, words={name: words})  # fmt: skip

    def close(self) -> None:
        self._reference, self._before, self._roots = [], [], []


def _unknown(optimizer: Any) -> str:
    """Why the relation is not known for this optimizer; empty when it is."""
    if not kind(optimizer) or any(g.get("nesterov") or g.get("dampening") for g in optimizer.param_groups):
        return "known for SGD without dampening, heavy ball and Adam only"
    if words := unknown(optimizer):
        return words
    if any(decoupled(optimizer, group) and group["weight_decay"] for group in optimizer.param_groups):
        return "with decoupled weight decay the weights have no stationary state of this kind"
    return ""


def _moved(context: Context) -> list[tuple[dict[str, Any], Tensor]]:
    return [
        (group, parameter)
        for group in context.optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None and not parameter.grad.is_sparse
    ]
