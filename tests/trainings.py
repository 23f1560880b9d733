"""Small trainings of known outcome, watched by the real sensors: what the regime and the alerts are tested on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsmon.probe.algorithms.lanczos import lanczos
from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.measurement import at_once
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.operators.metric import metric
from lsmon.probe.operators.preconditioned import Preconditioned
from lsmon.probe.optimizers import edge
from lsmon.probe.readings import number
from lsmon.probe.reference import Reference
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.probe.sensors.diffusion import Diffusion
from lsmon.probe.sensors.equilibrium import Equilibrium
from lsmon.probe.sensors.fluctuation import Fluctuation
from lsmon.probe.sensors.layers import LayerScale
from lsmon.probe.sensors.scale import Scale
from lsmon.probe.sensors.sensor import Context, Finding, Sensor
from lsmon.probe.sensors.temperature import Temperature
from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.frames import Alert, AnyFrame, Scalars
from lsmon.protocol.regime import Regime, Verdict

Batch = tuple[Tensor, Tensor]


def everything() -> list[Sensor]:
    """All sensors, measuring at every step."""
    light: list[Sensor] = [Scale(seconds=0.0), LayerScale(seconds=0.0), Temperature()]
    curvature = CurvatureSensor(steps=12, density=True)
    return [*light, Equilibrium(), Diffusion(), Fluctuation(), curvature]


def digits(count: int = 1024, seed: int = 0) -> Batch:
    """Images (count, 64) in 0…1 of ten smooth prototypes, shifted and noisy, with labels: like scikit-learn's digits."""
    generator = torch.Generator().manual_seed(seed)
    prototypes = F.interpolate(torch.rand(10, 1, 4, 4, generator=generator), size=8, mode="bilinear")
    labels = torch.randint(0, 10, (count,), generator=generator)
    shifts = torch.randint(-1, 2, (count,), generator=generator).tolist()
    rows = [torch.roll(prototypes[y], s, dims=2) for y, s in zip(labels.tolist(), shifts, strict=True)]
    images = torch.stack(rows) + 0.2 * torch.randn(count, 1, 8, 8, generator=generator)
    return images.clamp(0, 1).reshape(count, 64), labels


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def squares(model: nn.Module, batch: Batch) -> Tensor:
    """Mean squared error against one-hot labels: its curvature does not collapse when the labels are learned."""
    error: Tensor = model(batch[0]) - F.one_hot(batch[1], 10)
    return error.square().sum(1).mean() / 2


def batches(data: Batch, size: int | None, seed: int = 0) -> Iterator[Batch]:
    """Drawn with replacement; the whole data for ever when there is no size."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        if size is None:
            yield data
        else:
            rows = torch.randint(0, len(data[0]), (size,), generator=generator)
            yield data[0][rows], data[1][rows]


def mlp(depth: int, width: int, gain: float | None = 2**0.5, *, norm: bool = False) -> nn.Sequential:
    """Hidden ReLU layers with weights of variance gain²/fan-in, or as torch initialises them."""
    layers: list[nn.Module] = []
    for place in range(depth):
        linear = nn.Linear(64 if place == 0 else width, width)
        if gain is not None:
            nn.init.normal_(linear.weight, std=gain * linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)
        layers += [linear, *([nn.LayerNorm(width)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


class Sharpness(Sensor):
    """``stability/ratio`` every so many steps, in one go: the curvature sensor spreads it over steps to keep a budget."""

    name = "sharpness"

    def __init__(self, every: int = 10) -> None:
        self.every = every

    def measure(self, context: Context) -> Finding:
        assert context.reference is not None
        assert context.loss_fn is not None
        point = Hessian(context.model, context.loss_fn, context.reference)
        form = metric(context.optimizer, [p for p in context.model.parameters() if p.requires_grad])
        known = edge(context.optimizer)
        if form is None and known is None:
            return None
        operator = point if form is None else Preconditioned(point, form.root, form.decay)
        limit = form.limit if form is not None else known[0] if known is not None else 1.0
        try:
            # With one value wanted, what is found may be the second: 8 % too low on digits near the edge.
            top = at_once(lanczos(operator, top=2, bottom=0, max_products=40)).extremes.top[0]
        except ValueError:  # not finite: it explodes
            return None
        return Scalars(
            step=context.step, values={"stability/ratio": top.value / limit, "hessian/edge": limit}
        )


@dataclass
class Watched:
    verdicts: list[tuple[int, Verdict]] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """Without repetition, in their order."""
        told = [verdict.label for _, verdict in self.verdicts]
        return [label for place, label in enumerate(told) if place == 0 or told[place - 1] != label]


def train(
    model: nn.Module,
    optimizer: Any,
    data: Iterator[Batch],
    sensors: Sequence[Sensor],
    steps: int,
    *,
    clip: float | None = None,
    reference: Batch | None = None,
    loss_fn: Callable[[nn.Module, Batch], Tensor] = cross_entropy,
) -> Watched:
    """Every frame goes through the detectors and the regime as in the probe's sending thread."""
    seen, watch, regime = Watched(), Watch(), Regime()
    context = Context(model, optimizer, loss_fn, clip=clip, reference=Reference(reference))
    found: list[Any] = []
    instruments = Instruments(sensors, context, Budget(1.0), Guard(strict=True), found.append)
    for step in range(1, steps + 1):
        batch = next(data)
        loss = loss_fn(model, batch)
        torch.autograd.backward(loss)
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, batch)
        plain = {"loss": float(loss.detach())}
        frames: list[AnyFrame] = []
        for one in found:
            if isinstance(one, dict):
                plain |= {name: float(_float(value)) for name, value in one.items()}
            else:
                frames.append(one)
        found.clear()
        for frame in [Scalars(step=step, values=plain), *frames]:
            seen.alerts += watch.see(frame)
            verdict = regime.see(frame)
            if verdict is not None:
                seen.verdicts.append((step, verdict))
            if isinstance(frame, Scalars):
                for name, value in frame.values.items():
                    seen.series.setdefault(name, []).append((frame.step, value))
    instruments.close()
    return seen


def _float(value: Any) -> float:
    read = number(value)
    return read if isinstance(read, float) else read.values()[0]
