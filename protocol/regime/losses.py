"""The losses of a training so far, in O(1) memory: smoothed, against the first and the lowest, and whether they rise."""

from __future__ import annotations

import math
import statistics
from collections import deque
from itertools import pairwise

MEMORY = 0.95
"""Of the smoothed loss: the last twenty samples."""

WARM_UP = 20
"""Losses before anything is judged by them."""

LONG = 200
"""Losses of the stretch over which a fall is judged."""

STRETCH = 50
"""Losses whose mean is compared with that of the stretches before."""
KEPT, FEWEST = 32, 8
"""Stretches that are remembered, and fewest changes from one to the next that tell how much a loss wanders by itself."""

RISING, UNKNOWN = 6.3, 6.2
"""Heating: by so many times its usual change from stretch to stretch, beside its trend, a loss has risen within two: by
RISING n/(n - UNKNOWN), since of n changes a median is the less certain the fewer they are: 28 times with 8 changes, 8
with the 29 of a full memory. Losses of neighbouring steps are not independent, so their own scatter says too little of
how far a loss in equilibrium wanders. Fitted to 2 million simulated series for each n: one stretch in 10 000 does this by
itself where the losses are independent and normal. Others wander more: with a correlation of 0.99 from one to the next,
or lognormal with σ = 1, one in 1000 to 2500 does."""

NOTABLE = 0.02
"""... and by this part of itself."""


class Losses:
    def __init__(self) -> None:
        self.count = 0
        self.odd = False
        """The last one was not finite."""
        self.smooth = math.nan
        self.first = math.nan
        """The smoothed loss after the warm-up, or as far as it is."""
        self.lowest = math.inf
        """Of the smoothed loss, once it is one."""
        self.step = self.first_step = 0
        self.rise: tuple[float, float] | None = None
        """Means of the last stretch but two and of the last, where the second is plainly above the first."""
        self._stretch: list[float] = []
        self._means: deque[float] = deque(maxlen=KEPT)
        self._smooth: deque[tuple[int, float]] = deque(maxlen=LONG)

    def see(self, step: int, loss: float) -> None:
        self.step = max(step, self.step)
        self.odd = not math.isfinite(loss)
        if self.odd:
            return
        if not self.count:
            self.first_step = step
        self.count += 1
        keep = min(MEMORY, 1 - 1 / self.count)
        self.smooth = loss if self.count == 1 else keep * self.smooth + (1 - keep) * loss
        self._smooth.append((step, self.smooth))
        if self.count <= WARM_UP:
            self.first = self.smooth
        if self.count >= WARM_UP // 2:
            self.lowest = min(self.lowest, self.smooth)
        self._stretch.append(loss)
        if len(self._stretch) == STRETCH:
            self._means.append(math.fsum(self._stretch) / STRETCH)
            self._stretch.clear()
            self.rise = self._rise()

    def fall(self) -> tuple[int, float]:
        """Steps of the last stretch, and the part of the loss that was lost in it."""
        if not self._smooth:
            return 0, 0.0
        step, loss = self._smooth[0]
        return self.step - step, (loss - self.smooth) / abs(loss) if loss else 0.0

    def below(self, part: float) -> bool:
        """Whether it has come down below this part of the first; one below zero falls by as much of its size."""
        return self.smooth < self.first - (1 - part) * abs(self.first)

    def _rise(self) -> tuple[float, float] | None:
        means = list(self._means)
        changes = [after - before for before, after in pairwise(means[:-2])]
        if len(changes) < FEWEST:
            return None
        before, after = means[-3], means[-1]
        trend = statistics.median(changes)
        usual = statistics.median(abs(change - trend) for change in changes)
        steady = min(means[-2:]) > before  # both above: no spike that the next stretch has forgotten
        much = RISING * len(changes) / (len(changes) - UNKNOWN) * usual
        plain = steady and after - before > max(much, NOTABLE * abs(before))
        return (before, after) if plain else None
