"""How many examples of the reference batch curvature is measured on, so that it comes often enough within the budget.

A smaller batch is biased: E λ_max of it is above λ_max of the data, by Jensen. So it is chosen once, as large as the
budget allows, kept for the run, and its bias is measured. A reference that was given is used whole.
"""

from __future__ import annotations

import math

from .cadence import COMPLETE, SPARSEST

PRODUCTS = 32 + COMPLETE * 8
"""Products, gradients among them, from one complete measurement to the next when nothing moves."""

FILL = 0.9
"""Part of the allowance that these may take; the rest is for checking the batch, and for events."""

LONGEST = 2.2
"""Training steps that one product may last: with the step itself less than 4, and room for a slow one."""

GUESS = 2.2
"""Training steps that a product on a batch of the training's own size takes: 1.7 to 2.3 gradients, graph kept."""

TRIED = 3
"""Once a third of the examples is tried: one number of them does not tell how much of a product's cost they are."""

CHANGES = 6
"""Corrections of a first guess; after them the batch is what it is, or the series would mean nothing."""

SHRINK, GROW = 0.85, 1.8
"""Smaller changes are not worth a new beginning, since a few timings are no better than that."""

FREE = 0.5
"""Examples that add no more than this part to what a product costs whatever the batch (a small network's is nearly all
of that) are not saved: one of 512 would cost as much and be several times too sharp."""

WORTH = 4
"""Times as many as the allowance pays for they must be: what λ_max is too high by goes with one over the root of their
number, and half of that is worth being late."""

DOUBT = 0.15
"""What timings may be wrong by, and beyond which they must say that examples cost nothing: by chance they said it of a
small convolutional network on 29 examples and on 24, and 384 were tried."""

FURTHER = 8
"""Times as far apart as the two numbers of examples that were timed may be how many more are tried at once."""

FEWEST = 16
"""Of the training's own batch at least one example in so many, whatever it costs."""


class Plan:
    """Begins with a guess from the training's own step and is corrected by what products really cost."""

    def __init__(
        self,
        available: int,
        trained_on: int,
        step_secs: float,
        allowance: float,
        *,
        thinnest: int | None = None,
        fewest: int = 1,
    ) -> None:
        """``thinnest`` and ``fewest``: as a Reference has them."""
        self.available = available
        self._left = CHANGES
        self._least = min(available, fewest)
        self.fewest = max(self._least, min(available, trained_on or available) // (thinnest or FEWEST))
        self._each = GUESS / max(1, trained_on or available)
        self._last: tuple[int, float] | None = None
        """Another number of examples, and the steps that a product on them lasted: a machine gets slower and faster."""
        self.examples = self._within(self._target(step_secs, allowance) / self._each)

    def corrected(self, product_secs: float, step_secs: float, allowance: float) -> bool:
        """A product on ``examples`` took so long: true when their number changed, and the measurement starts anew."""
        if not self._left or product_secs <= 0 or step_secs <= 0:
            return False
        lasts = product_secs / step_secs
        each = self._an_example(lasts)
        constant = lasts - each * self.examples
        pays = (self._target(step_secs, allowance) - constant) / each
        apart = abs(self.examples - self._last[0]) if self._last is not None else self.examples
        surely = each + DOUBT * lasts / apart
        if FREE * (lasts - surely * self.examples) / surely >= WORTH * max(pays, self.fewest):
            pays = FREE * constant / each
        wanted = self._within(min(pays, self.examples + FURTHER * apart))
        if _alike(wanted, self.examples):
            if self._last is not None or self.examples in (self._least, self.available):
                return False
            wanted = max(self._least, self.examples // TRIED)
        elif self._last is not None and _alike(wanted, self._last[0]):
            wanted = self._last[0]
        self._left -= 1
        self._last = (self.examples, lasts)
        self.examples = wanted
        return True

    def _an_example(self, lasts: float) -> float:
        """Steps that one example more would cost: by the last two numbers of them, or at most as first guessed."""
        each = self._each
        if self._last is not None:
            examples, lasted = self._last
            each = (lasts - lasted) / (self.examples - examples)
        dearest = lasts / self.examples
        return min(max(each, dearest / 1000), dearest)

    def _within(self, wanted: float) -> int:
        return max(
            self.fewest, min(round(wanted) if wanted < self.available else self.available, self.available)
        )

    @staticmethod
    def _target(step_secs: float, allowance: float) -> float:
        """Steps that one product may last."""
        if allowance >= 1.0 or step_secs <= 0:
            return math.inf
        return min(LONGEST, FILL * allowance * COMPLETE * SPARSEST / PRODUCTS)


def _alike(wanted: int, examples: int) -> bool:
    return SHRINK * examples <= wanted <= GROW * examples
