"""The sharpness has risen to the optimizer's own edge of stability and hovers there: normal, and worth knowing."""

from __future__ import annotations

import math

from ..edge import Edge
from ..frames import Alert, AnyFrame, Scalars


class EdgeOfStability:
    """One alert when ``stability/ratio`` begins to hover; the next only after it has left the edge."""

    __slots__ = ("_edge",)

    wants = ""

    def __init__(self) -> None:
        self._edge = Edge()

    def see(self, frame: AnyFrame) -> Alert | None:
        if not isinstance(frame, Scalars) or "stability/ratio" not in frame.values:
            return None
        before = self._edge.at
        error = frame.errors.get("stability/ratio", 0.0)
        if not self._edge.see(frame.step, frame.values["stability/ratio"], error) or before:
            return None
        evidence = {"stability/ratio": self._edge.mean}
        limit = frame.values.get("hessian/edge", math.nan)
        of = ""
        if math.isfinite(limit):
            evidence["hessian/edge"], of = limit, f", which is {limit:.3g}"
        return Alert(
            kind="edge_of_stability", step=frame.step, onset_step=self._edge.since,
            message=f"At the edge of stability: the sharpness hovers at {self._edge.mean:.2f} of the optimizer's edge{of}.",
            evidence=evidence,
            advice="Normal, not a fault: the learning rate now limits the sharpness, and the loss need not fall at every step.",
        )  # fmt: skip
