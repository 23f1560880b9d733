"""All that the frames of a run have said about its trainability: what the signs are read from."""

from __future__ import annotations

import math
from collections import deque

from ..depth import Trend, trend
from ..edge import Edge
from ..frames import Curvature, Layers, Scalars
from .losses import LONG, Losses

DEAD = 0.4
"""Share of a layer's units; 14 % are dead by chance in a healthy narrow net, ..."""

MOSTLY = 0.5
"""Clipped in so much of the steps."""

LOOKS = 2
"""Looks at the layers that must agree."""


class Facts:
    """A pure fold with O(1) memory a step."""

    def __init__(self) -> None:
        self.losses = Losses()
        self.edge = Edge()
        self.ratio = self.limit = math.nan
        """Sharpness against the optimizer's edge, and that edge."""
        self.ratio_error = 0.0
        self.gauge = (math.nan, math.nan)
        """R of the equilibrium gauge and its error."""
        self.rolling = False
        """The curvature along the gradient is negative: on its way off a saddle."""
        self.forward: deque[Trend | None] = deque(maxlen=LOOKS)
        self.backward: deque[Trend | None] = deque(maxlen=LOOKS)
        """Activations and gradients over depth."""
        self.dead = (0.0, "")
        """Share of the dead units in the layer that has most, and its name, ..."""
        self.dead_since: int | None = None
        """... and since which step that is much."""
        self.counting = False
        """Layers are looked at, and too few examples have been seen yet to tell which units are dead."""
        self.clip = 0.0
        self.clipped_since: int | None = None
        self._updates: deque[tuple[int, float]] = deque(maxlen=LONG)

    def curvature(self, frame: Curvature) -> None:
        if frame.grad_curvature is not None:
            self.rolling = frame.grad_curvature < 0

    def layers(self, frame: Layers) -> None:
        # The last layer's output is the prediction, whose scale is the task's and not the depth's.
        self.forward.append(trend(frame.values.get("activation", ())[:-1]))
        self.backward.append(trend(frame.values.get("gradient", ())[:-1]))
        self.counting = "dead" not in frame.values
        dead = frame.values.get("dead", ())[:-1]
        if dead:
            worst = max(range(len(dead)), key=dead.__getitem__)
            self.dead = dead[worst], frame.names[worst]
            self.dead_since = _since(self.dead_since, dead[worst] > DEAD, frame.step)

    def scalars(self, frame: Scalars) -> None:
        values, step = frame.values, frame.step
        if "stability/ratio" in values:
            self.ratio = values["stability/ratio"]
            self.limit = values.get("hessian/edge", self.limit)
            self.ratio_error = frame.errors.get("stability/ratio", 0.0)
            self.edge.see(step, self.ratio, self.ratio_error)
        if "temperature/equilibrium" in values:
            error = frame.errors.get("temperature/equilibrium", math.inf)
            self.gauge = values["temperature/equilibrium"], error
        if "update/ratio" in values:
            self._updates.append((step, values["update/ratio"]))
        if "clip/rate" in values:
            self.clip = values["clip/rate"]
            self.clipped_since = _since(self.clipped_since, self.clip > MOSTLY, step)
        if "loss" in values:
            self.losses.see(step, values["loss"])

    def largest_update(self, steps: int) -> float | None:
        """|Δθ|/|θ| at most, in the last so many steps; None unless it was measured all along."""
        now = self.losses.step
        if not self._updates or self._updates[0][0] > now - steps // 2:
            return None
        # None of them, in a loop so fast that updates are measured less often than that.
        return max((value for step, value in self._updates if step > now - steps), default=None)


def _since(before: int | None, holds: bool, step: int) -> int | None:
    if not holds:
        return None
    return step if before is None else before
