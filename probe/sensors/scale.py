"""Learning rate, gradient norm, weight norm and its drift, clip rate, and the size of an update relative to the weights."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..readings import Reading, read
from .clipping import AT_LIMIT
from .sensor import Context, Finding, Sensor

CLIP_STEPS = 200
"""Measured steps over which the clip rate is averaged."""

DRIFT_SAMPLES = 256
"""Weight norms through which the drift is fitted, ..."""
DRIFT_EVERY = 32
"""... and how many are new when it is told again."""

HALF = (torch.float16, torch.bfloat16)


class Scale(Sensor):
    """Looks on while the optimizer steps, because most loops have cleared the gradients when they call the probe."""

    name = "scale"
    needs = ("model", "optimizer")
    ceiling = 0.004  # the light sensors together stay below 2 %

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds  # twenty a second: more than that is not seen, and would triple the recording
        self._before: list[Tensor] = []
        self._values: dict[str, Any] = {}
        self._clipped: Tensor | None = None
        self._seen = 0
        self._attempt = 1
        self._weights: Reading | None = None
        self._coming: deque[tuple[int, Reading]] = deque()
        self._norms: deque[tuple[int, float]] = deque(maxlen=DRIFT_SAMPLES)  # step, ln|θ|
        self._fresh = 0

    def before_update(self, context: Context) -> None:
        parameters = _trained(context)
        self._values = {}
        if not context.closure:
            self._look(context, parameters)
        self._before = [parameter.detach().clone() for parameter in parameters]

    def _look(self, context: Context, parameters: Sequence[Tensor]) -> None:
        """At the gradients."""
        length = norm([p.grad for p in parameters if p.grad is not None])
        self._values["grad/norm"] = length
        if context.clip is not None:
            self._seen = min(self._seen + 1, CLIP_STEPS)
            flag = (length >= AT_LIMIT * context.clip).double()
            before = torch.zeros_like(flag) if self._clipped is None else self._clipped
            self._clipped = before + (flag - before) / self._seen
            self._values["clip/rate"] = self._clipped

    def after_update(self, context: Context) -> None:
        trained = _trained(context)
        if context.closure:
            self._look(context, trained)
        parameters = [parameter.detach() for parameter in trained]
        if len(parameters) != len(self._before):
            return
        weights = norm(parameters)
        before, self._before = self._before, []
        torch._foreach_sub_(before, parameters)
        moved = norm(before)
        # An all-zero model has no scale to compare with: 0/0 would be a false alarm.
        ratio = moved / weights.clamp_min(torch.finfo(weights.dtype).tiny)
        self._values |= {"weight/norm": weights, "update/ratio": ratio}
        self._weights = read(weights)

    def measure(self, context: Context) -> Finding:
        values, self._values = self._values, {}
        if context.attempt != self._attempt:
            self._attempt = context.attempt
            self._coming.clear()
            self._norms.clear()
        if self._weights is not None:
            self._coming.append((context.step, self._weights))
            self._weights = None
        while self._coming and self._coming[0][1].ready():
            step, reading = self._coming.popleft()
            length = reading.values()[0]
            if 0 < length < math.inf:
                self._norms.append((step, math.log(length)))
                self._fresh += 1
        if self._fresh >= DRIFT_EVERY and self._norms[-1][0] > self._norms[0][0]:
            self._fresh = 0
            values["weight/drift"] = 1000 * _slope(self._norms)
        for index, group in enumerate(context.optimizer.param_groups):
            values["lr" if index == 0 else f"lr/{index}"] = group["lr"]
        return values

    def close(self) -> None:
        self._before = []


def _slope(points: Sequence[tuple[int, float]]) -> float:
    """Of the line through them by least squares."""
    middle = math.fsum(x for x, _ in points) / len(points)
    spread = math.fsum((x - middle) ** 2 for x, _ in points)
    return math.fsum((x - middle) * y for x, y in points) / spread


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm over all of them, a 0-d tensor, accumulated in single precision at least."""
    dense = [
        tensor.detach().coalesce().values() if tensor.is_sparse else tensor.detach() for tensor in tensors
    ]
    dense = [tensor.float() if tensor.dtype in HALF else tensor for tensor in dense]
    if not dense:
        return torch.zeros(())
    first = dense[0].device
    total: Tensor = torch.linalg.vector_norm(
        torch.stack([piece.to(first) for piece in torch._foreach_norm(dense)])
    )
    return total


def _trained(context: Context) -> list[Tensor]:
    """Parameters that this optimizer moves and that receive a gradient now."""
    return [
        parameter
        for group in context.optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
