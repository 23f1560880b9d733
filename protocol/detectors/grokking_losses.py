"""Grokking seen in the losses alone, where nobody logs accuracies: less sure, and it says so.

The validation loss of a network that memorises rises far above the training loss; when what generalises takes over, it
comes down again (Power et al. 2022, arXiv:2201.02177, figure 4).
Where it comes down before the training loss is a tenth of its first value, nothing is told.
"""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame, Scalars
from .smooth import LARGEST, Between, Middle, Scatter, Smooth
from .thresholds import OfGrokking

UNSURE = 0.6
"""Confidence: a loss may come down because the network grows less certain, with as many wrong answers as before."""

FORGOTTEN = 3.0
"""Training loss over what counts as known by heart, beyond which it is not known any more."""

FIRST = 3
"""Evaluations after which the first losses are known."""


class GrokkingLosses:
    """LEARNING → ``memorized`` → ``grokking_onset`` → ``grokking_complete``, from ``loss`` and ``val/loss``."""

    __slots__ = (
        "_count", "_count_from", "_evaluations", "_first", "_first_val", "_highest", "_knows_better",
        "_scatter", "_state", "_t", "_train", "_val",
    )  # fmt: skip

    wants = ""

    def __init__(self, thresholds: OfGrokking | None = None) -> None:
        self._t = thresholds or OfGrokking()
        self._state = "learning"
        self._knows_better = False
        """Accuracies are logged: then ``Grokking`` has the word."""
        self._first = -math.inf
        self._first_val = -math.inf
        self._evaluations = 0
        self._train, self._val = Between(Middle()), Smooth(self._t.memory)
        self._scatter = Scatter(self._t.window)
        self._highest = -math.inf
        self._count = self._count_from = 0

    def see(self, frame: AnyFrame) -> Alert | None:
        if self._knows_better or not isinstance(frame, Scalars):
            return None
        values = frame.values
        if "val/acc" in values:
            self._knows_better = True
            return None
        loss = values.get("loss", math.nan)
        if abs(loss) < LARGEST:
            self._train.add(loss)
        val = values.get("val/loss", math.nan)
        if not abs(val) < LARGEST or self._state == "complete":
            return None
        self._evaluations += 1
        self._scatter.add(val)
        level = self._val.add(val)
        self._train.take()
        if self._evaluations <= FIRST:
            self._first, self._first_val = max(self._first, self._train.value), max(self._first_val, val)
            return None
        if not (self._first > 0 and level > 0):
            return None  # a loss that may be negative has no "tenth of it"
        return {"learning": self._memorized, "memorized": self._onset, "onset": self._complete}[self._state](
            frame.step
        )

    def _held(self, condition: bool, step: int) -> bool:
        if not condition:
            self._count = 0
            return False
        self._count_from = self._count_from if self._count else step
        self._count += 1
        return self._count >= self._t.in_a_row

    def _memorized(self, step: int) -> Alert | None:
        train, val = self._train.value, self._val.value
        known = train <= self._t.losses_learned * self._first
        worse = val >= self._t.losses_gap * train and val >= self._t.losses_unknown * self._first_val
        if not self._held(known and worse, step):
            return None
        self._state, self._count, self._highest = "memorized", 0, val
        return self._alert(
            "memorized", step, f"The training data seems memorised, or unlike the validation data: loss {train:.3g}, on validation {val:.3g}.",
            "Log train/acc and val/acc to be sure; weight decay and patience may still make it generalise.",
        )  # fmt: skip

    def _onset(self, step: int) -> Alert | None:
        level = self._val.value
        self._highest = max(self._highest, level)
        if self._train.fresh > FORGOTTEN * self._t.losses_learned * self._first:  # other data, another story
            self._state, self._count = "learning", 0
            return None
        turned = level < min(
            self._t.losses_turn * self._highest, self._highest - self._t.deviations * self._scatter.sigma
        )
        if not self._held(turned and self._train.value <= self._t.losses_learned * self._first, step):
            return None
        self._state, self._count = "onset", 0
        return self._alert(
            "grokking_onset", step, f"Grokking seems to have begun: validation loss fell from {self._highest:.3g} to {level:.3g}.",
            "Keep training; log train/acc and val/acc to be sure.",
        )  # fmt: skip

    def _complete(self, step: int) -> Alert | None:
        if self._val.value > self._t.losses_done * self._highest:
            return None
        self._state, self._count_from = "complete", step
        return self._alert(
            "grokking_complete", step, f"It seems to have grokked: validation loss {self._val.value:.3g}.",
            "A good moment for a checkpoint.",
        )  # fmt: skip

    def _alert(self, kind: str, step: int, message: str, advice: str) -> Alert:
        evidence = {"loss": self._train.value, "val/loss": self._val.value}
        if kind != "memorized":
            evidence["highest val/loss"] = self._highest
        return Alert(
            kind=kind, step=step, onset_step=self._count_from, confidence=UNSURE,
            message=f"{message} (from the losses alone)", evidence=evidence, advice=advice,
        )  # fmt: skip
