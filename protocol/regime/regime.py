"""A pure fold over the frames that the probe sends, with hysteresis: a state must hold for some losses before it is told,
and must be gone for longer before another takes its place."""

from __future__ import annotations

from ..frames import AnyFrame, Curvature, Layers, Scalars
from .facts import Facts
from .losses import WARM_UP
from .signs import SIGNS
from .verdict import REGIMES, Verdict

ENTER, LEAVE = 5, 20
"""Losses for which a state must have held, and for which it must have been gone."""

REPEAT = 64
"""Losses after which an unchanged verdict is told again, with its present numbers, for whoever came late."""


class Regime:
    """Shown every numbered frame once, in order; keeps O(1) memory a step."""

    def __init__(self) -> None:
        self._attempt = 0
        self._forget()

    def _forget(self) -> None:
        self._facts = Facts()
        self._label = ""
        self._candidate, self._held, self._gone, self._told = "", 0, 0, 0

    def see(self, frame: AnyFrame) -> Verdict | None:
        """The verdict when it has changed, and every 64 losses."""
        if frame.attempt > self._attempt:
            self._forget()
            self._attempt = frame.attempt
        if isinstance(frame, Curvature):
            self._facts.curvature(frame)
        elif isinstance(frame, Layers):
            self._facts.layers(frame)
        elif isinstance(frame, Scalars):
            self._facts.scalars(frame)
            if "loss" in frame.values:
                return self._judge()
        return None

    def _judge(self) -> Verdict | None:
        losses = self._facts.losses
        name, words = next((name, words) for name, sign in SIGNS if (words := sign(self._facts)))
        self._held = self._held + 1 if name == self._candidate else 1
        self._candidate = name
        self._gone = 0 if name == self._label else self._gone + 1
        self._told += 1
        if name == self._label and self._told < REPEAT:
            return None
        urgent = REGIMES.index(name) > (REGIMES.index(self._label) if self._label else -1)
        at_once = (
            name == "exploding" and losses.odd and self._held > 1
        )  # once may be a slip, twice is no news to wait for
        ripe = losses.count >= WARM_UP and self._held >= ENTER and (urgent or self._gone >= LEAVE)
        if name != self._label and not at_once and not ripe:
            return None
        self._label, self._told, self._gone = name, 0, 0
        return Verdict(name, f"{name}: {words}")
