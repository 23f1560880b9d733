"""How the weights wander: the exponent of their mean squared displacement, at lags below and above an epoch.

MSD(τ) = ⟨|θ_{t+τ} - θ_t|²⟩ ∝ τ^α: 2 is drift, 1 diffusion, less is confinement. With epochs that draw without replacement
the noise of an epoch sums to zero, so that what diffuses at short lags may stand still at long ones: both are told.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from lsmon.protocol.frames import Scalars

from ..algorithms.estimate import Estimate, estimate
from ..algorithms.sketch import Sketch
from ..readings import Reading, read
from ..reference import plain_size
from .sensor import Context, Finding, Sensor

LEVELS = 24
"""Lags 1, 2, 4, … steps up to 2^23: each keeps one sketch of 256 numbers."""

KEPT = 32
"""Displacements of a lag that are averaged: what moved long ago tells of another phase."""

FEWEST = 8
"""Displacements of each of two lags before their ratio means anything."""


@dataclass(slots=True)
class _Level:
    lag: int
    step: int = -1
    """When the sketch was taken, or from when on the next one may be."""
    sketch: Tensor | None = None
    found: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=KEPT))

    def mean(self) -> tuple[float, Estimate]:
        """The lag and MSD, both averaged."""
        return math.fsum(lag for lag, _ in self.found) / len(self.found), estimate([v for _, v in self.found])


class Diffusion(Sensor):
    """``diffusion/within_epoch`` and ``diffusion/across_epochs``; ``diffusion/exponent`` where the epoch is not known."""

    name = "diffusion"
    needs = ("model", "optimizer")

    def __init__(self) -> None:
        self._sketch: Sketch | None = None
        self._levels = [_Level(1 << k) for k in range(LEVELS)]
        self._draw = random.Random(0)
        self._attempt = 1
        self._coming: deque[tuple[_Level, int, Reading]] = deque()
        self._fresh = 0

    def measure(self, context: Context) -> Finding | Sequence[Finding]:
        if self._sketch is None or context.attempt != self._attempt:
            self._sketch, self._attempt = Sketch(seed=context.seed), context.attempt
            self._levels = [_Level(1 << k) for k in range(LEVELS)]
            self._coming.clear()
        now = self._sketch.of([p for p in context.model.parameters() if p.requires_grad])
        for level in self._levels:
            passed = context.step - level.step
            if level.sketch is None:
                if passed >= 0:
                    level.sketch, level.step = now, context.step
            elif passed >= level.lag:
                if passed < 2 * level.lag:
                    self._coming.append((level, passed, read((now - level.sketch).square().sum())))
                # Begin at all places of an epoch alike: over exactly one the noise sums to zero.
                level.sketch = None
                level.step = context.step + self._draw.randrange(level.lag // 2 + 1)
        while self._coming and self._coming[0][2].ready():
            level, lag, reading = self._coming.popleft()
            if math.isfinite(value := reading.values()[0]):
                level.found.append((lag, value))
                self._fresh += 1
        if self._fresh < KEPT:
            return None
        self._fresh = 0
        return self._exponents(context)

    def _exponents(self, context: Context) -> list[Scalars]:
        known = [
            (one, two)
            for one, two in zip(self._levels, self._levels[1:], strict=False)
            if min(len(one.found), len(two.found)) >= FEWEST
        ]
        if not known:
            return []
        size = None if context.batch is None else plain_size(context.batch)
        if context.examples is None or size is None:
            return [_told(context.step, "diffusion/exponent", *known[-1], "the epoch is not known")]
        epoch = context.examples / max(1, size)
        within = [(one, two) for one, two in known if two.lag <= epoch / 2]
        across = [(one, two) for one, two in known if one.lag >= epoch]
        words = f"an epoch is {epoch:.0f} steps"
        found = [_told(context.step, "diffusion/within_epoch", *within[-1], words)] if within else []
        return [*found, *([_told(context.step, "diffusion/across_epochs", *across[-1], words)] if across else [])]  # fmt: skip

    def close(self) -> None:
        self._levels = []
        self._coming.clear()


def _told(step: int, name: str, one: _Level, two: _Level, words: str) -> Scalars:
    """α from the mean displacements of two lags."""
    (near, small), (far, large) = one.mean(), two.mean()
    stretch = math.log(far / near)
    tiny = math.ulp(0.0)
    exponent = math.log(max(large.value, tiny) / max(small.value, tiny)) / stretch
    relative = math.hypot(large.se / max(large.value, tiny), small.se / max(small.value, tiny))
    return Scalars(
        step=step,
        values={name: exponent},
        errors={name: relative / stretch},
        words={name: f"from lags of {near:.0f} and {far:.0f} steps; {words}"},
    )
