"""What a training is doing, in one word and one sentence with numbers: too much and it explodes, too little and it stalls.

A pure fold over the frames that the probe sends, with hysteresis: a state must hold for some losses before it is told,
and must be gone for longer before another takes its place. Where the thresholds come from: trainings of known outcome.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .depth import Trend, trend
from .edge import Edge
from .frames import AnyFrame, Curvature, Layers, Scalars
from .gauge import HEATING, label

REGIMES = (
    "stable", "edge of stability", "saturated", "stalling", "clipped", "heating", "dead units", "vanishing", "exploding",
)  # fmt: skip
"""From the least to the most urgent: the most urgent that holds is told."""

NORMAL = ("stable", "edge of stability", "saturated")
"""These say that nothing is wrong with the training."""

MEMORY = 0.95
"""Of the smoothed loss: the last twenty samples."""
WARM_UP = 20
"""Losses before the first verdict but "exploding"."""

ENTER, LEAVE = 5, 20
"""Losses for which a state must have held, and for which it must have been gone."""

REPEAT = 64
"""Losses after which an unchanged verdict is told again, with its present numbers, for whoever came late."""

GROWN, BACK, BEYOND = 2.0, 0.25, 2.0
"""Exploding: the smoothed loss against its lowest and against its first, and the sharpness against the edge. The last
alone says nothing: nets with LayerNorm trained at 16 times the edge."""

STEEP, FAR = 0.15, 3.0
"""Dex a layer, and dex from first to last layer: steeper trained, at some learning rate, when it was less far."""

LOOKS = 2
"""Looks at the layers that must agree."""

LEARNING = 0.9
"""Vanishing: the loss is still above this part of the first. A net that learns is not told that it cannot."""

DEAD = 0.4
"""Share of a layer's units; 14 % are dead by chance in a healthy narrow net, ..."""
PATIENCE = 100
"""... and half of them in the first steps of a deep one that wakes them soon."""

MOSTLY, LONG = 0.5, 200
"""Clipped in so much of the steps, for so many steps; also the stretch over which stalling is judged."""

SLOW, SMALL = 1e-2, 1e-4
"""Stalling: the sharpness against the edge, and |Δθ|/|θ|."""
STILL, HIGH = 0.05, 0.7
"""... with a loss that has fallen by less than this part in the stretch, and is above this part of the first."""

LEARNED, TINY = 0.01, 0.01
"""Saturated: the smoothed loss in nats, and against the first."""

RISING = 4.0
"""Heating: standard errors by which the mean loss of one stretch is above that of the stretch before."""
STRETCH = 100
SELDOM = 10
"""Losses from one comparison of stretches to the next: it costs more than all the rest."""
NOTABLE = 0.02


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


class Regime:
    """Shown every numbered frame once, in order; keeps O(1) memory a step."""

    def __init__(self) -> None:
        self._attempt = 0
        self._forget()

    def _forget(self) -> None:
        self._losses = 0
        self._loss = self._first = math.nan
        self._lowest = math.inf
        self._odd = False
        self._recent: deque[float] = deque(maxlen=2 * STRETCH)
        self._risen = ""
        self._smooth: deque[tuple[int, float]] = deque(maxlen=LONG)
        self._edge = Edge()
        self._ratio = self._limit = math.nan
        self._gauge = (math.nan, math.nan)
        self._update: deque[tuple[int, float]] = deque(maxlen=LONG)
        self._lr = math.nan
        self._rolling = False
        self._forward: deque[Trend | None] = deque(maxlen=LOOKS)
        self._backward: deque[Trend | None] = deque(maxlen=LOOKS)
        self._dead = (0.0, "")
        self._dead_since: int | None = None
        self._clip = 0.0
        self._clipped_since: int | None = None
        self._step = self._first_step = 0
        self._label = ""
        self._candidate, self._held, self._gone, self._told = "", 0, 0, 0

    def see(self, frame: AnyFrame) -> Verdict | None:
        """The verdict when it has changed, and every 64 losses."""
        if frame.attempt > self._attempt:
            self._forget()
            self._attempt = frame.attempt
        if isinstance(frame, Curvature):
            if frame.grad_curvature is not None:
                self._rolling = frame.grad_curvature < 0
            return None
        if isinstance(frame, Layers):
            self._look(frame)
            return None
        if not isinstance(frame, Scalars):
            return None
        self._take(frame)
        return self._judge() if "loss" in frame.values else None

    # ---- what is known

    def _look(self, frame: Layers) -> None:
        self._forward.append(trend(frame.values.get("activation", ())[:-1]))
        self._backward.append(trend(frame.values.get("gradient", ())[:-1]))
        dead = frame.values.get("dead", ())[:-1]
        if dead:
            worst = max(range(len(dead)), key=dead.__getitem__)
            self._dead = dead[worst], frame.names[worst]
            if dead[worst] <= DEAD:
                self._dead_since = None
            elif self._dead_since is None:
                self._dead_since = frame.step

    def _take(self, frame: Scalars) -> None:
        values, step = frame.values, frame.step
        if "stability/ratio" in values:
            self._ratio = values["stability/ratio"]
            self._limit = values.get("hessian/edge", self._limit)
            self._edge.see(step, self._ratio)
        if "temperature/equilibrium" in values:
            self._gauge = (
                values["temperature/equilibrium"],
                frame.errors.get("temperature/equilibrium", math.inf),
            )
        if "update/ratio" in values:
            self._update.append((step, values["update/ratio"]))
        self._lr = values.get("lr", self._lr)
        if "clip/rate" in values:
            self._clip = values["clip/rate"]
            if self._clip <= MOSTLY:
                self._clipped_since = None
            elif self._clipped_since is None:
                self._clipped_since = step
        if "loss" in values:
            self._lose(step, values["loss"])

    def _lose(self, step: int, loss: float) -> None:
        self._step = max(step, self._step)
        self._odd = not math.isfinite(loss)
        if self._odd:
            return
        if not self._losses:
            self._first_step = step
        self._losses += 1
        keep = min(MEMORY, 1 - 1 / self._losses)
        self._loss = loss if self._losses == 1 else keep * self._loss + (1 - keep) * loss
        self._recent.append(loss)
        self._smooth.append((step, self._loss))
        if self._losses <= WARM_UP:
            self._first = self._loss
        if self._losses >= WARM_UP // 2:
            self._lowest = min(self._lowest, self._loss)

    # ---- what it means

    def _judge(self) -> Verdict | None:
        found = next(self._candidates(), ("stable", self._stable()))
        name = found[0]
        self._held = self._held + 1 if name == self._candidate else 1
        self._candidate = name
        self._gone = 0 if name == self._label else self._gone + 1
        self._told += 1
        urgent = REGIMES.index(name) > (REGIMES.index(self._label) if self._label else -1)
        at_once = name == "exploding" and self._odd  # nothing is gained by waiting
        ripe = self._losses >= WARM_UP and self._held >= ENTER and (urgent or self._gone >= LEAVE)
        if name != self._label and not at_once and not ripe:
            return None
        if name == self._label and self._told < REPEAT:
            return None
        self._label, self._told, self._gone = name, 0, 0
        return Verdict(name, f"{name}: {found[1]}")

    def _candidates(self) -> Iterator[tuple[str, str]]:
        """All that hold, the most urgent first."""
        for name, words in (
            ("exploding", self._exploding()),
            ("vanishing", self._vanishing()),
            ("dead units", self._dying()),
            ("heating", self._heating()),
            ("clipped", self._clipping()),
            ("stalling", self._stalling()),
            ("saturated", self._saturated()),
            ("edge of stability", self._at_the_edge()),
        ):
            if words:
                yield name, words

    def _exploding(self) -> str:
        line = _steep(self._forward, 1)
        depth = f"activations grow by {line.slope:.2g} dex a layer over {line.layers} layers" if line else ""
        if self._odd:
            also = f" and {depth}" if depth else ""
            return f"the loss is not finite{also}; lower the learning rate or the scale of the initialisation"
        grown = self._loss > max(GROWN * self._lowest, BACK * self._first)
        if self._losses > WARM_UP and grown and self._ratio > BEYOND:
            return (
                f"the loss grew from {self._lowest:.3g} to {self._loss:.3g} and the sharpness is {self._ratio:.2g} times the edge; "
                "lower the learning rate"
            )
        return f"{depth}, where ±{STEEP} is level; use He initialisation or normalisation" if depth else ""

    def _vanishing(self) -> str:
        if self._loss < LEARNING * self._first:
            return ""  # it learns all the same
        forward, backward = _steep(self._forward, -1), _steep(self._backward, 1)
        what, line = (
            ("activations shrink by", forward) if forward else ("gradients shrink backwards by", backward)
        )
        if line is None:
            return ""
        return (
            f"{what} {abs(line.slope):.2g} dex a layer over {line.layers} layers, where ±{STEEP} is level; "
            "use He initialisation or normalisation"
        )

    def _dying(self) -> str:
        if self._dead_since is None or self._step - self._dead_since < PATIENCE:
            return ""
        share, name = self._dead
        return (
            f"{share:.0%} of the units of layer {name} have not been active since step {self._dead_since}, where {DEAD:.0%} is "
            "much; lower the learning rate or initialise anew"
        )

    def _heating(self) -> str:
        value, error = self._gauge
        if label(value, error) == HEATING:
            return f"noise heats faster than the gradient descends, R = {value:.2g} ± {2 * error:.1g}; the loss will rise at this learning rate"  # fmt: skip
        if len(self._recent) < 2 * STRETCH or self._edge.at:
            return ""
        if self._losses % SELDOM == 0:
            self._risen = self._rise()
        return self._risen

    def _rise(self) -> str:
        values = list(self._recent)
        (before, one), (after, two) = _mean(values[:STRETCH]), _mean(values[STRETCH:])
        rise = after - before
        if rise < RISING * math.hypot(one, two) or rise < NOTABLE * abs(before):
            return ""
        return f"the loss rose from {before:.3g} to {after:.3g} within {2 * STRETCH} losses; lower the learning rate or use larger batches"  # fmt: skip

    def _clipping(self) -> str:
        if self._clipped_since is None or self._step - self._clipped_since < LONG or self._step - self._first_step < 2 * LONG:  # fmt: skip
            return ""
        return f"{self._clip:.0%} of the steps since step {self._clipped_since} were clipped, so the threshold sets the step and not the gradient; raise it or lower the learning rate"  # fmt: skip

    def _stalling(self) -> str:
        if not self._update or self._rolling or not self._ratio < SLOW:
            return ""
        steps = self._step - self._smooth[0][0] if self._smooth else 0
        if steps < LONG - 1 or self._update[0][0] > self._step - LONG // 2:
            return ""
        recent = [value for step, value in self._update if step > self._step - LONG]
        if not recent:  # a loop so fast that updates are measured less often
            return ""
        largest = max(recent)
        fall = 1 - self._loss / self._smooth[0][1] if self._smooth[0][1] > 0 else 0.0
        if largest >= SMALL or fall >= STILL or self._loss < HIGH * self._first:
            return ""
        return f"sharpness is {self._ratio:.2g} of the edge, an update {largest:.1g} of the weights and the loss fell by {max(fall, 0):.1%} in {steps} steps; raise the learning rate tenfold"  # fmt: skip

    def _saturated(self) -> str:
        if not (self._loss < LEARNED and self._loss < TINY * self._first) or self._edge.at:
            return ""
        return f"the training loss is {self._loss:.2g}, {self._loss / self._first:.1g} of the first, so curvature collapses with it and is no sign of flatness"  # fmt: skip

    def _at_the_edge(self) -> str:
        if not self._edge.at:
            return ""
        limit = f" of {self._limit:.3g}" if math.isfinite(self._limit) else ""
        return f"the sharpness hovers at {self._edge.mean:.2f} of the optimizer's edge{limit} since step {self._edge.since}; that is normal"  # fmt: skip

    def _stable(self) -> str:
        if math.isfinite(self._ratio):
            return f"loss {self._loss:.3g}, sharpness {self._ratio:.2g} of the edge"
        return f"loss {self._loss:.3g}; the sharpness against the edge is not known"


def _steep(lines: Iterable[Trend | None], sign: int) -> Trend | None:
    """The last line over depth when the last looks agree that it is steep, in this direction, and goes far."""
    known = [line for line in lines if line is not None]
    agreed = len(known) == LOOKS and all(
        sign * line.slope > STEEP and sign * line.total > FAR for line in known
    )
    return known[-1] if agreed else None


def _mean(values: list[float]) -> tuple[float, float]:
    """And its standard error, were they independent."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))
