"""Noise and descent balance: at this learning rate the loss will hardly fall further, though there is a lower one below."""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame, Scalars
from ..gauge import EQUILIBRIUM, INSUFFICIENT, label

IN_A_ROW = 2
"""Readings of the gauge: neighbouring ones share most of their estimates, so more would say little more."""


class Balance:
    """One alert when the gauge begins to read "equilibrium"; the next only after it has read something else."""

    __slots__ = ("_in_a_row", "_onset", "_thermal", "_told")

    wants = ""

    def __init__(self) -> None:
        self._onset = self._in_a_row = 0
        self._told = False
        self._thermal = math.nan

    def see(self, frame: AnyFrame) -> Alert | None:
        if not isinstance(frame, Scalars):
            return None
        self._thermal = frame.values.get("temperature/thermal_loss", self._thermal)
        name = "temperature/equilibrium"
        if name not in frame.values:
            return None
        value, error = frame.values[name], frame.errors.get(name, math.inf)
        # What its own words doubt is no reading at all.
        doubted = "unreliable" in frame.words.get(name, "")
        said = INSUFFICIENT if doubted else label(value, error)
        if said != EQUILIBRIUM:
            self._in_a_row = 0
            self._told = self._told and said == INSUFFICIENT
            return None
        if not self._in_a_row:
            self._onset = frame.step
        self._in_a_row += 1
        if self._told or self._in_a_row < IN_A_ROW:
            return None
        self._told = True
        evidence = {name: value}
        gain = "annealing the learning rate would lower it"
        if math.isfinite(self._thermal):
            evidence["temperature/thermal_loss"] = self._thermal
            gain += f" by about {self._thermal:.2g}"
        return Alert(
            kind="equilibrium", step=frame.step, onset_step=self._onset,
            message=f"Noise and descent balance, R = {value:.2g} ± {2 * error:.1g}: the loss will hardly fall further at this learning rate.",
            evidence=evidence,
            advice=f"Lower the learning rate or enlarge the batch: {gain}.",
        )  # fmt: skip
