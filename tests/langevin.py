"""Langevin dynamics at a temperature that is known, with the loop's own micro-batches, and what a real probe records of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lsmon.probe import Probe, Sensor
from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.equilibrium import Equilibrium
from lsmon.probe.sensors.scale import Scale
from lsmon.probe.sensors.sensor import Context
from lsmon.probe.sensors.temperature import Temperature
from lsmon.protocol.frames import Scalars
from lsmon.protocol.recording.reader import Recording

PARTS = 2


class Langevin:
    """Micro-batches that each carry the whole potential and a noise of their own in its linear term."""

    def __init__(self, model: nn.Module, potential: Callable[[Any], Tensor], lr: float, decay: float, heat: float, seed: int, parts: int = PARTS) -> None:  # fmt: skip
        self.model, self.potential, self.parts = model, potential, parts
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr, weight_decay=decay)
        self.generator = torch.Generator().manual_seed(seed)
        self.heat = heat
        self.accelerate(lr)
        self.found: list[Scalars] = []
        self.steps = 0

    def accelerate(self, lr: float) -> None:
        """Another learning rate at the same temperature."""
        self.optimizer.param_groups[0]["lr"] = lr
        self.scale = math.sqrt(2 * self.heat / lr * self.parts)

    def watch(self, *sensors: Sensor) -> None:
        context = Context(self.model, self.optimizer, self.loss_fn)
        self.instruments = Instruments(sensors, context, Budget(1.0), Guard(strict=True), self.found.append)

    def loss_fn(self, model: nn.Module, batch: list[Tensor]) -> Tensor:
        tilt = [(p * n.mean(0)).sum() for p, n in zip(model.parameters(), batch, strict=True)]
        return self.potential(model) + torch.stack(tilt).sum()

    def step(self) -> list[Tensor]:
        batch = [self.scale * torch.randn(self.parts, *p.shape, generator=self.generator) for p in self.parameters]  # fmt: skip
        for part in range(self.parts):
            torch.autograd.backward(self.loss_fn(self.model, [n[part : part + 1] for n in batch]) / self.parts)  # fmt: skip
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        if hasattr(self, "instruments"):
            self.instruments.step(self.steps, 1, batch)
        return batch

    def last(self, name: str) -> tuple[float, float, str]:
        frame = [frame for frame in self.found if name in frame.values][-1]
        return frame.values[name], frame.errors[name], frame.words[name]


def quadratic(curvatures: Tensor, lr: float, heat: float, seed: int, start: float = 0.0) -> Langevin:
    model = nn.Module()
    x = nn.Parameter(torch.full((len(curvatures),), start))
    model.register_parameter("x", x)
    return Langevin(model, lambda m: 0.5 * (curvatures * m.x.square()).sum(), lr, 0.0, heat, seed)


def recorded(run: Langevin, *phases: Callable[[], int]) -> list[Scalars]:
    """The numbers that a real probe recorded. Each phase sets the run's temperature and learning rate and says how many
    steps follow."""
    calm = [torch.zeros(run.parts, *p.shape) for p in run.parameters]
    sensors = [Scale(seconds=0.0), Temperature(), Equilibrium()]
    probe = Probe(run.model, run.optimizer, run.loss_fn, reference=calm, budget=1.0, sensors=sensors)
    for phase in phases:
        for _ in range(phase()):
            batch = run.step()
            probe.step(run.potential(run.model), batch)
    folder = probe._outlets.header.recording
    probe.close()
    with Recording.open(Path(folder)) as recording:
        return [frame for frame in recording.frames() if isinstance(frame, Scalars)]


def stretches(frames: list[Scalars], name: str, until: str) -> list[tuple[str, int, Scalars]]:
    """Each label that the words of a quantity begin with, as long as it lasts, with its first step and last frame."""
    found: list[tuple[str, int, Scalars]] = []
    for frame in frames:
        if name in frame.words:
            label = frame.words[name].split(until)[0]
            first = found.pop()[1] if found and found[-1][0] == label else frame.step
            found.append((label, first, frame))
    return found
