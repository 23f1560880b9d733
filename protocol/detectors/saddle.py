"""A saddle that training rolls off: negative curvature along its own gradient, then positive again and a lower loss.

λ_min is negative for all of an ordinary network's life, so it says nothing by itself; what separates is the curvature
along the gradient, q = ĝᵀHĝ / |H|, which is negative only while the trajectory leaves a saddle along its unstable
direction (cf. Du et al. 2017, arXiv:1705.10412; Jin et al. 2017, arXiv:1703.00887). Without a measured q there is no
alert: a plateau and a drop of the loss alone were right one time in eight.

Where measurements are rare a whole escape may lie between two of them. Then the loss has fallen by more than the slope
at the first accounts for, and the mean curvature on the straight way, 2 (ΔL - ∇L·u) / |u|², is negative as q would be.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..frames import Alert, AnyFrame, Curvature, Scalars
from .smooth import LARGEST, Smooth
from .thresholds import OfSaddle

SURE, LIKELY = 0.97, 0.9
"""Precision on the labelled runs: of an escape seen in several measurements, and of one seen in a single one."""


ALONG_GRADIENT, ON_THE_WAY = "ĝᵀHĝ/|H|", "on the way ûᵀHû/|H|"
"""Where the curvature was seen: at a measurement, or on the straight way between two of them."""

EVIDENCE = {ALONG_GRADIENT: "grad_curvature/|H|", ON_THE_WAY: "displacement_curvature/|H|"}


class Measured(NamedTuple):
    """What is kept of a measurement until the next."""

    step: int
    loss: float
    norm: float
    """|∇L|, NaN where nobody measured it."""
    lowest: float
    """λ_min."""
    size: float
    """|H|."""


class Saddle:
    """IDLE → ESCAPING (``saddle_entered``) → ESCAPED (``saddle_escape``), or cancelled without a word.

    Everything is counted in measurements and compared with itself, so that neither the unit of the loss nor how often
    it is logged matters. The loss and |∇L| are those of the measurement where it has them.
    """

    __slots__ = (
        "_batch", "_before", "_entry_loss", "_escaping", "_fall_before", "_gap", "_hardly", "_largest",
        "_lowest", "_onset", "_plain", "_signs", "_slowest", "_smooth", "_steepest", "_step", "_t",
        "_where", "wants",
    )  # fmt: skip

    wants: str
    """Why denser curvature would help, while it would: the first sign of an escape, or one under way."""

    def __init__(self, thresholds: OfSaddle | None = None) -> None:
        self._t = thresholds or OfSaddle()
        self._step = 0
        self._smooth = Smooth(self._t.memory)
        self._before: Measured | None = None
        self._gap = False
        """One since then could not be used: the way that is told next does not begin at it."""
        self._largest = 0.0  # loss of the run so far
        self._batch = 0  # examples of the measurements
        self._forget()

    def _forget(self) -> None:
        self._signs = self._plain = (
            0  # negative measurements since the onset, and those of them that are plainly so
        )
        self._escaping = self._hardly = False
        self._onset: int | None = None
        self._entry_loss = math.nan
        self._slowest = math.inf  # smallest |∇L| since just before the onset
        self._fall_before = math.inf  # of the loss, from the measurement before the onset to the onset
        self._lowest = self._steepest = 0.0  # λ_min and q at their most negative since the onset
        self._where = ALONG_GRADIENT
        self.wants = ""

    def see(self, frame: AnyFrame) -> Alert | None:
        self._step = max(self._step, frame.step)
        if isinstance(frame, Scalars):
            loss = frame.values.get("loss", math.nan)
            if abs(loss) < LARGEST:
                self._smooth.add(loss)
        elif isinstance(frame, Curvature) and frame.top and frame.bottom:
            if frame.grad_curvature is not None:
                return self._measured(frame, frame.grad_curvature, frame.top[0].value, frame.bottom[0].value)
            self._gap = True
        return None

    def _measured(self, frame: Curvature, along: float, top: float, lowest: float) -> Alert | None:
        if frame.batch != self._batch:  # other examples, another loss
            self._batch, self._before = frame.batch, None
            self._forget()
        size = max(top, -lowest)
        loss = self._smooth.value if frame.loss is None else frame.loss
        norm = math.nan if frame.grad_norm is None else frame.grad_norm
        if not (0 < size < LARGEST and abs(along) < LARGEST and abs(loss) < LARGEST):
            self._gap = True
            return None
        self._largest = max(self._largest, abs(loss))
        q, before = along / size, self._before
        self._before = Measured(frame.step, loss, norm, lowest, size)
        if before is not None and not self._gap:
            self._come(frame, before, loss)
        self._gap = False
        if abs(loss) < self._t.floor * self._largest:  # what is negative here may be rounding
            ended = self._returned(loss) if self._onset is not None else None
            self._before = None
            return ended
        if along > 0:
            # Plainly, or once more: one that is hardly positive may be noise, and it would go on as a second event.
            over = self._onset is not None and (q > -self._t.turned or self._hardly)
            self._hardly = not over
            return self._returned(loss) if over else None
        self._hardly = False
        # |H| may be that of a sharp direction which has nothing to do with the way out: then λ_min is the measure.
        turned = q < self._t.turned or along < self._t.aligned * lowest
        plain = turned and lowest < -self._t.negative * size
        gentle = along < self._t.gently_aligned * lowest and lowest < -self._t.gently_negative * size
        if not (plain or gentle):
            return None
        self._plain += plain
        if self._onset is None:
            self._begin(self._before, math.inf if before is None else before.loss - loss)
            self._slowest = self._slowest if before is None else before.norm
        self._note(lowest, q, norm, ALONG_GRADIENT)
        return self._rolling(lowest, q, loss, norm)

    def _come(self, frame: Curvature, before: Measured, loss: float) -> None:
        """A story may begin between two measurements: the loss fell by more than the slope at the first accounts for,
        which no convex way does, so the way came along negative curvature."""
        bend, length = frame.displacement_curvature, frame.displacement
        if bend is None or length is None or not abs(bend) < LARGEST:
            return
        fallen = before.loss - loss
        by_slope = fallen + 0.5 * bend * length * length
        if self._onset == before.step:
            self._fall_before = min(self._fall_before, by_slope)
        q = bend / before.size
        turned = q < self._t.plain_turn or bend < self._t.aligned * before.lowest
        flat = by_slope <= self._t.plain_plateau * fallen
        if self._onset is None and turned and flat and before.lowest < -self._t.negative * before.size:
            self._plain += 1
            self._begin(before, by_slope)
            self._note(before.lowest, q, before.norm, ON_THE_WAY)

    def _begin(self, first: Measured, fall_before: float) -> None:
        """With the first sign, or just before it; ``fall_before``: by how much the loss would have fallen anyway."""
        self._onset, self._entry_loss, self._fall_before = first.step, first.loss, fall_before

    def _note(self, lowest: float, q: float, norm: float, where: str) -> None:
        """What this sign adds to the story."""
        self._signs += 1
        self._slowest = min(self._slowest, norm)
        self._lowest = min(self._lowest, lowest)
        if q < self._steepest:
            self._steepest, self._where = q, where
        self.wants = "saddle_undecided"

    def _rolling(self, lowest: float, q: float, loss: float, norm: float) -> Alert | None:
        if math.isnan(norm):
            grown = math.inf  # what nobody measured cannot speak against it
        else:
            grown = norm / self._slowest if self._slowest else math.inf if norm else 1.0
        plain = self._plain >= self._t.in_a_row and grown >= self._t.grown
        gentle = self._signs >= self._t.gently_in_a_row and grown > 1.0
        if self._escaping or not (plain or gentle):
            return None
        self._escaping = True
        return Alert(
            kind="saddle_entered", step=self._step, onset_step=self._onset or 0, confidence=LIKELY,
            message=f"Rolling off a saddle: curvature along the gradient is {q:.2f} |H|, λ_min {lowest:.3g}.",
            evidence={"hessian/min": lowest, "grad_curvature/|H|": q, "loss": loss},
            advice="Wait: a plateau that ends like this is not a stall.",
        )  # fmt: skip

    def _returned(self, loss: float) -> Alert | None:
        """The curvature along the gradient is positive again: that was an escape, or it was nothing."""
        onset, entry, lowest = self._onset or 0, self._entry_loss, self._lowest
        steepest, where = self._steepest, self._where
        was_escaping, plain, fall_before = self._escaping, self._plain >= self._t.in_a_row, self._fall_before
        self._forget()
        fallen = entry - loss
        part = fallen / abs(entry) if entry else 0.0
        if was_escaping:
            real = part >= (self._t.fallen if plain else self._t.gently_fallen)
        else:  # measurements are rare: one sign, the plainer the better, and a fall from what was a plateau
            needed = self._t.plain_fall if steepest <= self._t.plain_turn else self._t.faint_fall
            real = part >= needed and fall_before <= self._t.plain_plateau * fallen
        if not real or self._step - onset < self._t.plateau_steps:
            return None
        return Alert(
            kind="saddle_escape", step=self._step, onset_step=onset,
            confidence=SURE if was_escaping else LIKELY,
            message=(
                f"Escaped along negative curvature: λ_min was {lowest:.3g}, {where} {steepest:.2f}; "
                f"loss {entry:.3g} → {loss:.3g}."
            ),
            evidence={
                "hessian/min": lowest, EVIDENCE[where]: steepest, "loss before": entry, "loss after": loss,
            },
            advice="A good moment for a checkpoint; the next plateau may be the next saddle.",
        )  # fmt: skip
