"""A saddle that training rolls off: negative curvature along its own gradient, then positive again and a lower loss.

λ_min is negative for all of an ordinary network's life, so it says nothing by itself; what separates is the curvature
along the gradient, q = ĝᵀHĝ / |H|, which is negative only while the trajectory leaves a saddle along its unstable
direction (cf. Du et al. 2017, arXiv:1705.10412; Jin et al. 2017, arXiv:1703.00887). Without a measured q there is no
alert: a plateau and a drop of the loss alone were right one time in eight.
"""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame, Curvature, Scalars
from .smooth import LARGEST, Smooth
from .thresholds import OfSaddle

SURE, LIKELY = 0.97, 0.9
"""Precision on the labelled runs: of an escape seen in several measurements, and of one seen in a single one."""


class Saddle:
    """IDLE → ESCAPING (``saddle_entered``) → ESCAPED (``saddle_escape``), or cancelled without a word.

    Everything is counted in measurements and compared with itself, so that neither the unit of the loss nor how often
    it is logged matters. The loss and |∇L| are those of the measurement where it has them.
    """

    wants = ""
    """Why denser curvature would help, while it would: the first sign of an escape, or one under way."""

    def __init__(self, thresholds: OfSaddle | None = None) -> None:
        self._t = thresholds or OfSaddle()
        self._attempt = 0
        self._step = 0
        self._smooth = Smooth(self._t.memory)
        self._before: tuple[float, float] | None = None  # loss and |∇L| of the measurement before
        self._largest = 0.0  # loss of the run so far
        self._batch = 0  # examples of the measurements
        self._told = (0, 0)  # attempt and step of the last escape
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
        self.wants = ""

    def see(self, frame: AnyFrame) -> Alert | None:
        if frame.attempt > self._attempt:
            self._attempt, self._step = frame.attempt, frame.step
            self._smooth, self._before = Smooth(self._t.memory), None
            if self._onset is None or frame.step <= self._onset:
                self._forget()  # it went back to before what was seen; otherwise the story goes on
        self._step = max(self._step, frame.step)
        if isinstance(frame, Scalars):
            loss = frame.values.get("loss", math.nan)
            if abs(loss) < LARGEST:
                self._smooth.add(loss)
        elif isinstance(frame, Curvature) and frame.grad_curvature is not None and frame.top and frame.bottom:
            return self._measured(frame, frame.grad_curvature, frame.top[0].value, frame.bottom[0].value)
        return None

    def _measured(self, frame: Curvature, along: float, top: float, lowest: float) -> Alert | None:
        if frame.batch != self._batch:  # other examples, another loss
            self._batch, self._before = frame.batch, None
            self._forget()
        size = max(top, -lowest)
        loss = self._smooth.value if frame.loss is None else frame.loss
        norm = math.nan if frame.grad_norm is None else frame.grad_norm
        if not (0 < size < LARGEST and abs(along) < LARGEST and abs(loss) < LARGEST):
            return None
        self._largest = max(self._largest, abs(loss))
        if abs(loss) < self._t.floor * self._largest:
            ended = self._returned(loss) if self._escaping else None
            self._forget()
            return ended
        q, before = along / size, self._before
        self._before = (loss, norm)
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
        self._note(frame.step, lowest, q, loss, norm, before)
        return self._rolling(lowest, q, loss, norm)

    def _note(
        self, step: int, lowest: float, q: float, loss: float, norm: float, before: tuple[float, float] | None
    ) -> None:
        """What this sign adds to the story, or how the story begins."""
        if self._onset is None:
            self._onset, self._entry_loss = step, loss
            if before:
                self._slowest, self._fall_before = before[1], before[0] - loss
        self._slowest = min(self._slowest, norm)
        self._lowest, self._steepest = min(self._lowest, lowest), min(self._steepest, q)
        self.wants = "saddle_undecided"

    def _rolling(self, lowest: float, q: float, loss: float, norm: float) -> Alert | None:
        self._signs += 1
        grown = (
            math.inf if math.isnan(norm) else norm / self._slowest
        )  # what nobody measured cannot speak against it
        plain = self._plain >= self._t.in_a_row and grown >= self._t.grown
        gentle = self._signs >= self._t.gently_in_a_row and grown > 1.0
        if self._escaping or not (plain or gentle):
            return None
        self._escaping = True
        if self._again(self._onset or 0):
            return None
        return Alert(
            kind="saddle_entered", step=self._step, attempt=self._attempt, onset_step=self._onset or 0, confidence=LIKELY,
            message=f"Rolling off a saddle: curvature along the gradient is {q:.2f} |H|, λ_min {lowest:.3g}.",
            evidence={"hessian/min": lowest, "grad_curvature/|H|": q, "loss": loss},
            advice="Wait: a plateau that ends like this is not a stall.",
        )  # fmt: skip

    def _again(self, onset: int) -> bool:
        """A resumed run leaves the saddle that it had left already: that is no second event."""
        attempt, step = self._told
        return attempt < self._attempt and onset < step

    def _returned(self, loss: float) -> Alert | None:
        """The curvature along the gradient is positive again: that was an escape, or it was nothing."""
        onset, entry, lowest, steepest = self._onset or 0, self._entry_loss, self._lowest, self._steepest
        was_escaping, plain, fall_before = self._escaping, self._plain >= self._t.in_a_row, self._fall_before
        self._forget()
        fallen = entry - loss
        part = fallen / abs(entry) if entry else 0.0
        if was_escaping:
            real = part >= (self._t.fallen if plain else self._t.gently_fallen)
        else:  # measurements are rare: one sign, the plainer the better, and a fall from what was a plateau
            needed = self._t.plain_fall if steepest <= self._t.plain_turn else self._t.faint_fall
            real = part >= needed and fall_before <= self._t.plain_plateau * fallen
        if not real or self._again(onset) or self._step - onset < self._t.plateau_steps:
            return None
        self._told = self._attempt, self._step
        return Alert(
            kind="saddle_escape", step=self._step, attempt=self._attempt, onset_step=onset,
            confidence=SURE if was_escaping else LIKELY,
            message=(
                f"Escaped along negative curvature: λ_min was {lowest:.3g}, ĝᵀHĝ/|H| {steepest:.2f}; "
                f"loss {entry:.3g} → {loss:.3g}."
            ),
            evidence={
                "hessian/min": lowest, "grad_curvature/|H|": steepest, "loss before": entry, "loss after": loss,
            },
            advice="A good moment for a checkpoint; the next plateau may be the next saddle.",
        )  # fmt: skip
