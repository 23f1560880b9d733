"""Which parameters the loop trains, and whether it is the turn of those that are measured.

Where layers are thawed, frozen or replaced, vectors are of another space, and the measurements begin anew. Parts that
are trained in turn, as in an alternating optimization, are waited for: one of them is what is measured.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from .sensor import Context

IN_TURN = 8
"""Steps in a row at which others are trained, after which these are what is measured."""


class Turn(Enum):
    OURS = "what is measured is trained"
    OTHERS = "not at this step"
    NEW = "it no longer is, and what is trained now is what is measured"


class Trained:
    def __init__(self) -> None:
        self._measured: list[tuple[str, Any]] = []
        self._strange = 0
        """Steps in a row at which others were trained."""

    def others(self, context: Context) -> bool:
        """Whether others are trained at this step than what is measured."""
        now = _now(context)
        self._measured = self._measured or now
        return now != self._measured

    def look(self, context: Context) -> None:
        """At every step: once ours are trained, the others are no longer waited out."""
        if self._strange and not self.others(context):
            self._strange = 0

    def turn(self, context: Context) -> Turn:
        """Asked before a measurement begins."""
        if not self.others(context):
            return Turn.OURS
        self._strange += 1
        if self._strange < IN_TURN:
            return Turn.OTHERS
        self._measured, self._strange = _now(context), 0
        return Turn.NEW


def _now(context: Context) -> list[tuple[str, Any]]:
    return [(name, p.shape) for name, p in context.model.named_parameters() if p.requires_grad]
