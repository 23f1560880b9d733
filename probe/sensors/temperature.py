"""Langevin temperature of the step noise, from the gradients that the loop computes anyway.

T = η_eff tr(PC) / 2d with C the covariance of the gradient that the optimizer consumes and P its metric (Mandt,
Hoffman & Blei 2017, arXiv:1704.04289).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from lsmon.protocol.frames import Scalars

from ..algorithms.estimate import Estimate
from ..optimizers import gain, kind, unknown
from ..reference import plain_size, size_of
from .bias import bias_words
from .clipping import Clipping
from .full_batch import FullBatch
from .gradient_noise import Coming, GradientNoise, Row
from .sampling import UNCOUNTED, finite, uncounted
from .sensor import Context, Finding, Sensor
from .window import FEWEST, Window, changed

WINDOW = 96
"""Estimates in a full window: about 7 % on a real network."""

NEWS = 8
"""The number is said again when this part of the window is new."""

RATE_TRACE, TRACE, GRADIENT, FACTOR, SHARED, CONSUMED = range(6)
"""Places in the window's rows: η_eff tr(PC), tr(PC), |∇L|²_P, the clip factor, ⟨g, ḡ⟩ and |ḡ|² of ranks."""

FAR = 0.2
"""From one of the ratio of the last two, above which the ranks do something else than to average."""


class Temperature(Sensor):
    """``temperature/noise`` and ``temperature/thermal_loss``, with standard errors; by micro-batches ``noise/scale`` too."""

    name = "temperature"
    needs = ("model", "optimizer")
    ceiling = 0.005  # the light sensors together stay below 2 %

    def __init__(self) -> None:
        self._noise = GradientNoise()
        self._attempt = 1
        self._gains: list[float] = []
        self._moves = False  # the learning rate has moved beyond what one window spans
        self._sizes = (0, 0)  # fewest and most examples of the micro-batches that were passed to ``step``
        self._coming: deque[Coming] = deque()
        self._window = Window(WINDOW)
        self._clipping = Clipping()
        self._full_batch = FullBatch()
        self._agreed = False  # several ranks have been seen to average their gradients
        self._dim = 0.0
        self._fresh = 0

    def unfit(self, context: Context) -> str:
        return unknown(context.optimizer)

    def expect(self, context: Context) -> None:
        self._noise.expect(context)

    def before_update(self, context: Context) -> None:
        gains = [gain(group) for group in context.optimizer.param_groups]
        if context.attempt != self._attempt or changed(gains, self._gains):
            self._moves = bool(self._gains) and context.attempt == self._attempt
            self._attempt, self._gains = context.attempt, gains
            self._restart()
        if self._noise.begin(context):
            self._restart()
        self.busy = self._noise.busy
        if self._noise.taken is not None:
            self._coming.append(self._noise.taken)

    def _restart(self) -> None:
        self._noise.restart()
        self._sizes = (0, 0)
        self._window.clear()
        self._coming.clear()
        self._fresh = 0

    def measure(self, context: Context) -> Finding | Sequence[Finding]:
        self.aside = self._noise.rest()
        self.busy = self._noise.busy
        while self._coming and self._coming[0].reading.ready():
            self._take(self._coming.popleft(), context)
        if context.batch is not None:
            size, (fewest, most) = size_of(context.batch), self._sizes
            self._sizes = min(fewest or size, size), max(most, size)
        quiet = self._full_batch.words(context, self._noise.batches)
        count = len(self._window)
        if count < FEWEST:
            again = "; it begins anew at each change of the learning rate" if self._moves else ""
            context.notes[self.name] = f"{count} of the first {FEWEST} estimates{again}"
            return None
        consecutive = self._noise.batches == 1
        if self._fresh < count // NEWS or not self._dim or (context.by_halves and consecutive):
            return None
        self._fresh = 0
        context.notes.pop(self.name, None)
        if quiet:
            return _scalars(context.step, Estimate(0.0, 0.0), 1.0, quiet)
        mean, factor = self._window.mean(RATE_TRACE), self._window.mean(FACTOR).value
        heat = Estimate(factor * mean.value, factor * mean.se)
        found = _scalars(context.step, heat, self._dim, self._words(context, count, factor))
        return found if consecutive else [found, *self._noise_scale(context)]

    def _take(self, coming: Coming, context: Context) -> None:
        row = Row(*coming.reading.values())
        unit, factor = self._clipping.see(row.before, row.after, context.clip, raw=coming.raw)
        rest = finite(context, coming.parts, consecutive=coming.parts == 1) * unit**2
        gradient = row.total * unit**2 - row.trace * rest
        self._window.add(row.rate_trace * rest, row.trace * rest, gradient, factor, row.shared, row.after**2)
        self._dim = row.alive
        self._fresh += 1
        if self._noise.ranks > 1 and not self._agreed and len(self._window) == FEWEST:
            self._agreed = self._agree()

    def _agree(self) -> bool:
        """Whether what the optimizer consumes is the average of the ranks' gradients: ⟨g, ḡ⟩ has the mean of |ḡ|²."""
        alone = self._window.mean(TRACE).value == 0
        ratio = self._window.ratio(SHARED, CONSUMED)
        off = math.inf if ratio is None else abs(ratio.value - 1)
        if not alone and (ratio is None or off <= max(FAR, 3 * ratio.se)):
            return True
        self._noise.refuse(alone=alone)
        self._restart()
        return False

    def _noise_scale(self, context: Context) -> list[Scalars]:
        """McCandlish et al. 2018, B tr(PC)/|∇L|²_P: the batch at which noise and gradient are alike."""
        ratio = self._window.clear_ratio(TRACE, GRADIENT)
        if ratio is None or context.batch is None:
            return []
        size = self._noise.batches * size_of(context.batch)
        name, words = "noise/scale", f"{self._noise.way}, n={len(self._window)}, B={size}"
        words += "" if plain_size(context.batch) is not None else f"; {UNCOUNTED}"
        return [
            Scalars(
                step=context.step,
                values={name: size * ratio.value},
                errors={name: size * ratio.se},
                words={name: words},
            )
        ]

    def _words(self, context: Context, count: int, factor: float) -> str:
        adam = kind(context.optimizer) == "Adam"
        words = [f"{self._noise.way}, n={count}, {'Adam' if adam else 'identity'} metric, d={self._dim:.0f}"]
        words += self._clipping.words(context.clip, factor)
        words += [UNCOUNTED] if uncounted(context) else []
        if self._noise.batches > 1:
            fewest, most = self._sizes
            if fewest < most:
                # Weighted alike their gradients have one mean, and all is unbiased whatever the sizes.
                words.append(f"unequal micro-batches, {fewest} to {most}: too high where the loop weights them by size")  # fmt: skip
            return "; ".join(words)
        words.append(bias_words(context.optimizer, context.sharpness))
        return "; ".join(words)

    def close(self) -> None:
        self._noise.close()
        self._coming.clear()


def _scalars(step: int, heat: Estimate, dim: float, words: str) -> Scalars:
    """T = η tr(PC) / 2d and dT/2, from ``heat`` = η tr(PC)."""
    return Scalars(
        step=step,
        values={"temperature/noise": heat.value / (2 * dim), "temperature/thermal_loss": heat.value / 4},
        errors={"temperature/noise": heat.se / (2 * dim), "temperature/thermal_loss": heat.se / 4},
        words={"temperature/noise": words, "temperature/thermal_loss": words},
    )
