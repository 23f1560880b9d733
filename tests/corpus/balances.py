"""Langevin dynamics on quadratics, read by the probe's own equilibrium gauge; the truth is R in closed form.

x ← (1 - ηλ) x + √(2ηT) ξ has ⟨x²⟩ in closed form, and R = Σ λ²⟨x²⟩ / (T Σ λ) with it: descent over heating.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lsmon.probe.sensors.equilibrium import Equilibrium

from ..langevin import quadratic
from .breakdowns import named
from .classifiers import Made
from .run import ERROR, Event, Run

BALANCED = (0.5, 2.0)
"""R between these: noise and descent balance."""

NEAR = (0.67, 1.5)
"""Where half of the way there is done."""

Phase = tuple[int, float, float]
"""Steps, learning rate, temperature."""


def ratios(curvatures: Tensor, start: float, phases: list[Phase]) -> np.ndarray:
    """R before each step, and once more at the end."""
    h = curvatures.double().numpy()
    spread = np.full(len(h), start**2)
    found = []
    for steps, lr, heat in phases:
        for _ in range(steps):
            found.append(float((h**2 * spread).sum() / (heat * h.sum())))
            spread = (1 - lr * h) ** 2 * spread + 2 * lr * heat
    return np.array(found)


def from_ratios(ratio: np.ndarray) -> list[Event]:
    """Each stretch in which R lies between a half and two, once it came there from outside."""
    inside = (ratio >= BALANCED[0]) & (ratio <= BALANCED[1])
    events = []
    here = 0
    while here < len(ratio):
        if not inside[here]:
            here += 1
            continue
        gone = np.flatnonzero(~inside[here:])
        end = here + int(gone[0]) if len(gone) else len(ratio) - 1
        near = (ratio[here:end] >= NEAR[0]) & (ratio[here:end] <= NEAR[1])
        if here and near.any():
            events.append(Event("equilibrium", here, here + int(np.argmax(near)), end))
        here = end + 1
    return events


def cooled(name: str, seed: int, curvatures: Tensor, start: float, phases: list[Phase]) -> Run:
    """What the gauge says at each step at which it speaks."""
    (_, lr, heat), run = phases[0], quadratic(curvatures, phases[0][1], phases[0][2], seed, start)
    run.watch(Equilibrium())
    losses = []
    for steps, lr, heat in phases:
        run.heat = heat
        run.accelerate(lr)
        for _ in range(steps):
            losses.append(float(run.potential(run.model).detach()))
            run.step()
    said = {frame.step: frame for frame in run.found if "temperature/equilibrium" in frame.values}
    rows: list[list[object]] = []
    for step, loss in enumerate(losses):
        values = {"loss": loss}
        if step in said:
            frame = said[step]
            for each in ("temperature/equilibrium", "temperature/thermal_loss"):
                if each in frame.values:
                    values |= {each: frame.values[each], each + ERROR: frame.errors[each]}
        rows.append([step, values])
    what = f"Langevin on a quadratic of {len(curvatures)} dimensions, curvatures {float(curvatures.min()):.2g} to {float(curvatures.max()):.2g}, {phases}"
    events = from_ratios(ratios(curvatures, start, phases))
    return Run(
        name,
        "langevin",
        what,
        len(losses),
        events,
        ["plateau_left"],
        attempts=[{"scalars": rows, "curvature": []}],
    )


def runs() -> Iterator[Made]:
    """One maker for each training."""
    even, wide = torch.ones(300), torch.logspace(-1, 0, 300)
    tried: list[tuple[Tensor, float, list[Phase]]] = [
        (even, 0.5, [(1800, 0.02, 1e-3)]), (even, 1.0, [(1500, 0.05, 1e-2)]), (wide, 0.5, [(1800, 0.05, 1e-3)]),
        (torch.logspace(-1, 1, 400), 0.3, [(1800, 0.05, 1e-3)]), (torch.full((1000,), 0.5), 0.4, [(1800, 0.05, 1e-3)]),
        (even, 2.0, [(1500, 0.1, 0.1)]), (torch.cat([torch.ones(100), 5 * torch.ones(100)]), 0.3, [(1500, 0.05, 1e-3)]),
        (torch.full((500,), 2.0), 0.6, [(1200, 0.04, 2e-3)]), (torch.logspace(-0.5, 0.5, 500), 0.4, [(1500, 0.06, 5e-3)]),
        (torch.logspace(-0.5, 0.5, 200), 1.0, [(1500, 0.08, 1e-2)]), (even, 0.1, [(1500, 0.03, 1e-4)]),
        # still on their way down at the end
        (even, 5.0, [(1500, 1e-3, 1e-3)]), (wide, 20.0, [(1500, 0.01, 1e-3)]), (torch.logspace(-3, 0, 300), 30.0, [(1500, 0.05, 1e-4)]),
    ]  # fmt: skip
    for number, (curvatures, start, phases) in enumerate(tried):
        name = f"langevin-{number:02}"
        yield named(name, functools.partial(cooled, name, 1740 + number, curvatures, start, phases))
