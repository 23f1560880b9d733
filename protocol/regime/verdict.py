"""The regimes by name, and how one travels."""

from __future__ import annotations

from typing import NamedTuple

from ..frames import AnyFrame, Scalars

REGIMES = (
    "stable", "edge of stability", "saturated", "stalling", "clipped", "heating", "dead units", "vanishing", "exploding",
)  # fmt: skip
"""From the least to the most urgent: the most urgent that holds is told."""

NORMAL = ("stable", "edge of stability", "saturated")
"""These say that nothing is wrong with the training."""


class Verdict(NamedTuple):
    label: str
    words: str
    """The label and why, with numbers."""

    def scalars(self, frame: AnyFrame) -> Scalars:
        """As it travels: the place in REGIMES, and the words."""
        return Scalars(
            step=frame.step, attempt=frame.attempt,
            values={"regime": float(REGIMES.index(self.label))}, words={"regime": self.words},
        )  # fmt: skip
