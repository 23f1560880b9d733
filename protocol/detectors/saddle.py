"""A saddle that training rolls off: negative curvature along its own gradient, then positive again and a lower loss.

λ_min is negative for all of an ordinary network's life, so it says nothing by itself; what separates is the curvature
along the gradient, q = ĝᵀHĝ / |H|, which is negative only while the trajectory leaves a saddle along its unstable
direction (cf. Du et al. 2017, arXiv:1705.10412; Jin et al. 2017, arXiv:1703.00887). Without a measured q there is no
alert: a plateau and a drop of the loss alone were right one time in eight.
"""

from __future__ import annotations

import math

from ..frames import Alert, AnyFrame, Curvature, Scalars

TURNED = -0.03
"""q below this is negative: on 57 labelled runs -0.01 gave false alarms, -0.05 missed a fifth of the escapes."""

NEGATIVE = 1e-3
"""λ_min must be below minus this times |H|, so that q is not the rounding of a flat valley."""

IN_A_ROW = 2
"""Measurements: one may be off by an unconverged λ."""

FALLEN = 0.01
"""Part of the loss at entry that must be gone for an escape to have been one."""

MEMORY = 0.9
"""Of the smoothed loss: the last ten samples."""


class Saddle:
    """IDLE → ESCAPING (``saddle_entered``) → ESCAPED (``saddle_escape``), or cancelled without a word."""

    def __init__(self) -> None:
        self._attempt = 0
        self._forget()

    def _forget(self) -> None:
        self._step = 0
        self._loss = math.nan
        self._in_a_row = 0
        self._onset = 0
        self._entry_loss = math.nan
        self._escaping = False
        self._lowest = 0.0  # λ_min and q at their most negative since the onset
        self._steepest = 0.0

    def see(self, frame: AnyFrame) -> Alert | None:
        if frame.attempt > self._attempt:
            self._forget()
            self._attempt = frame.attempt
        self._step = max(self._step, frame.step)
        if isinstance(frame, Scalars):
            loss = frame.values.get("loss", math.nan)
            if math.isfinite(loss):
                self._loss = loss if math.isnan(self._loss) else MEMORY * self._loss + (1 - MEMORY) * loss
        elif isinstance(frame, Curvature) and frame.grad_curvature is not None and frame.top and frame.bottom:
            return self._measured(frame, frame.grad_curvature)
        return None

    def _measured(self, frame: Curvature, along_gradient: float) -> Alert | None:
        lowest = frame.bottom[0].value
        size = max(frame.top[0].value, -lowest)
        if size <= 0:
            return None
        q = along_gradient / size
        if q < TURNED and lowest < -NEGATIVE * size:
            return self._rolling(frame.step, lowest, q)
        self._in_a_row = 0
        if not self._escaping or q <= 0:
            return None
        self._escaping = False
        return (
            self._escaped(frame) if self._loss < self._entry_loss - FALLEN * abs(self._entry_loss) else None
        )

    def _rolling(self, step: int, lowest: float, q: float) -> Alert | None:
        if not self._in_a_row and not self._escaping:
            self._onset, self._entry_loss = step, self._loss
            self._lowest = self._steepest = 0.0
        self._in_a_row += 1
        self._lowest, self._steepest = min(self._lowest, lowest), min(self._steepest, q)
        if self._escaping or self._in_a_row < IN_A_ROW or math.isnan(self._entry_loss):
            return None
        self._escaping = True
        return Alert(
            kind="saddle_entered",
            step=self._step,
            attempt=self._attempt,
            onset_step=self._onset,
            message=f"Rolling off a saddle: curvature along the gradient is {q:.2f} |H|, λ_min {lowest:.3g}.",
            evidence={"hessian/min": lowest, "grad_curvature/|H|": q, "loss": self._loss},
            advice="Wait: a plateau that ends like this is not a stall.",
        )

    def _escaped(self, frame: Curvature) -> Alert:
        return Alert(
            kind="saddle_escape",
            step=self._step,
            attempt=self._attempt,
            onset_step=self._onset,
            message=(
                f"Escaped along negative curvature: λ_min was {self._lowest:.3g}, ĝᵀHĝ/|H| {self._steepest:.2f}; "
                f"loss {self._entry_loss:.3g} → {self._loss:.3g}."
            ),
            evidence={
                "hessian/min": self._lowest,
                "grad_curvature/|H|": self._steepest,
                "loss before": self._entry_loss,
                "loss after": self._loss,
            },
            advice="A good moment for a checkpoint; the next plateau may be the next saddle.",
        )
