"""Both ends of the Hessian's spectrum on the reference batch, measured while the training goes on.

A measurement takes a snapshot of the parameters at one step and spreads its 32 products over the following steps, one
a step and only when the budget allows, so what is reported belongs to the step of the snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

import torch
from torch import Tensor, nn

from lsmon.protocol.frames import Curvature, Scalars

from ..algorithms.lanczos import extremes, lanczos
from ..operators.hessian import Hessian
from ..optimizers import edge
from ..readings import Reading, read
from .sensor import Context, Finding, Sensor

FEWEST_STEPS = 8
"""Below this a Krylov space says little about λ_min."""

HOST_BYTES = 2 << 30
"""Largest basis kept in host memory. On a device it is a quarter of what is free."""

_Work = Generator[None, None, list[Finding]]


class CurvatureSensor(Sensor):
    """λ_max, λ_min and the certified count of negative directions by one Lanczos run."""

    name = "curvature"
    needs = ("model", "loss_fn")
    weight = 4.0  # the dearest by far, and what the budget is for

    def __init__(self, steps: int = 32) -> None:
        self.steps = steps
        self._work: _Work | None = None
        self._attempt = 1

    def measure(self, context: Context) -> Sequence[Finding]:
        if context.attempt != self._attempt:
            self._attempt, self._work = context.attempt, None
        reference = context.reference
        assert reference is not None  # a Probe with a model has one
        if not reference.complete:
            reference.offer(context.batch)
            if not reference.batches:
                context.notes[self.name] = "pass the batch to step() or reference= to Probe"
                return ()
            if not reference.complete:
                context.notes[self.name] = f"{reference.examples} examples of the reference batch so far"
                return ()
        if self._work is None:
            self._work = self._run(context)
        try:
            next(self._work)
        except StopIteration as done:
            self._work = None
            return list(done.value)
        except BaseException:  # also an interrupt: a generator that raised cannot go on
            self._work = None
            raise
        return ()

    def _run(self, context: Context) -> _Work:
        """One unit of work between two yields: the snapshot with its gradient, a product, the evaluation."""
        began = time.perf_counter()
        spent = 0.0
        step, reference = context.step, context.reference
        assert reference is not None and context.loss_fn is not None
        limit = edge(context.optimizer) if context.optimizer is not None else None
        hessian = Hessian(context.model, context.loss_fn, reference)
        steps = self._affordable(hessian)
        if steps < FEWEST_STEPS:
            context.notes[self.name] = f"{hessian.dim} parameters are too many for the memory that is free"
            return []
        work = lanczos(hessian, steps, context.seed)
        rows: Tensor | None = None
        while rows is None:
            spent += time.perf_counter() - began
            yield
            began = time.perf_counter()
            try:
                next(work)
            except StopIteration as done:
                rows = done.value
        reading: Reading = read(
            torch.cat([torch.stack([hessian.loss, hessian.grad_norm]).to(rows), rows.reshape(-1)])
        )
        while not reading.ready():
            spent += time.perf_counter() - began
            yield
            began = time.perf_counter()
        loss, grad_norm, *coefficients = reading.values()
        try:
            found = extremes(torch.tensor(coefficients, dtype=torch.float64), hessian.dtype)
        except ValueError as error:
            context.notes[self.name] = f"not measured at step {step}: {error}"
            return []
        context.notes.pop(self.name, None)
        context.sharpness = found.top[0].value
        notes = [] if found.top[0].converged else ["λ_max not converged"]
        if not found.bottom[0].converged:
            notes.append("λ_min not converged: it may be lower")
        if steps < min(self.steps, hessian.dim):
            notes.append(f"{steps} products instead of {self.steps}: memory")
        curvature = Curvature(
            step=step,
            top=found.top,
            bottom=found.bottom,
            negative_at_least=found.negative_at_least,
            tolerance=found.tolerance,
            lanczos_steps=found.hvps,
            hvps=found.hvps,
            seconds=spent + time.perf_counter() - began,
            share=context.share(),
            method=f"Lanczos {found.hvps}, double backward, {_mode(context.model)}",
            batch=reference.examples,
            parameters=hessian.dim,
            loss=loss,
            grad_norm=grad_norm,
            noise=found.noise,
            notes=tuple(notes),
        )
        return [curvature] if limit is None else [curvature, _against(limit, curvature)]

    def _affordable(self, hessian: Hessian) -> int:
        """Products for whose basis there is room."""
        room = HOST_BYTES
        if hessian.device.type == "cuda":
            room = torch.cuda.mem_get_info(hessian.device)[0] // 4
        size = torch.finfo(hessian.dtype).bits // 8 * hessian.dim
        steps = min(self.steps, room // size)
        return max(steps, FEWEST_STEPS) if hessian.dim < FEWEST_STEPS else steps

    def close(self) -> None:
        self._work = None


def _against(stability: tuple[float, float], curvature: Curvature) -> Scalars:
    """Sharpness relative to the optimizer's own edge; coupled weight decay adds to every eigenvalue."""
    limit, decay = stability
    sharpest = curvature.top[0]
    return Scalars(
        step=curvature.step,
        values={"hessian/edge": limit, "stability/ratio": (sharpest.value + decay) / limit},
        errors={"stability/ratio": sharpest.residual / limit},
    )


def _mode(model: nn.Module) -> str:
    """What eval mode means for this model."""
    kinds = [type(module).__name__ for module in model.modules()]
    words = ["eval mode"]
    if any("Dropout" in kind for kind in kinds):
        words.append("dropout off")
    if any("BatchNorm" in kind for kind in kinds):
        words.append("BatchNorm running statistics")
    return words[0] + (": " + ", ".join(words[1:]) if len(words) > 1 else "")
