"""The losses of a training so far, in O(1) memory: smoothed, against the first and the lowest, and whether they rise."""

from __future__ import annotations

import math
from collections import deque

MEMORY = 0.95
"""Of the smoothed loss: the last twenty samples."""

WARM_UP = 20
"""Losses before anything is judged by them."""

LONG = 200
"""Losses of the stretch over which a fall is judged."""

RISING = 4.0
"""Heating: standard errors by which the mean loss of one stretch is above that of the stretch before."""
STRETCH = 100
SELDOM = 10
"""Losses from one comparison of stretches to the next: it costs more than all the rest."""
NOTABLE = 0.02


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
        """Means of the last two stretches, where the second is plainly above the first."""
        self._recent: deque[float] = deque(maxlen=2 * STRETCH)
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
        self._recent.append(loss)
        self._smooth.append((step, self.smooth))
        if self.count <= WARM_UP:
            self.first = self.smooth
        if self.count >= WARM_UP // 2:
            self.lowest = min(self.lowest, self.smooth)
        if self.count % SELDOM == 0 and len(self._recent) == 2 * STRETCH:
            self.rise = self._rise()

    def fall(self) -> tuple[int, float]:
        """Steps of the last stretch, and the part of the loss that was lost in it."""
        if not self._smooth:
            return 0, 0.0
        step, loss = self._smooth[0]
        return self.step - step, 1 - self.smooth / loss if loss > 0 else 0.0

    def _rise(self) -> tuple[float, float] | None:
        values = list(self._recent)
        (before, one), (after, two) = _mean(values[:STRETCH]), _mean(values[STRETCH:])
        rise = after - before
        plain = rise >= RISING * math.hypot(one, two) and rise >= NOTABLE * abs(before)
        return (before, after) if plain else None


def _mean(values: list[float]) -> tuple[float, float]:
    """And its standard error, were they independent."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))
