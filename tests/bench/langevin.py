"""Langevin dynamics at a temperature that is known: how well it is read, and what the equilibrium gauge says.

    python -m tests.bench.langevin [temperature gauge heating]

``temperature``: SGLD on an L2-regularised network of 1210 parameters on digits and on a quadratic, 100 repetitions of
n = 96 micro-batch estimates each. ``gauge``: the same network on its way down, and at stationarity. ``heating``: a
quadratic at equilibrium whose learning rate is raised tenfold; it takes nine million directions until 200 estimates tell,
since the error of the gauge is about 7/(2ηh) / √(n d), and some minutes.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.equilibrium import Equilibrium
from lsmon.probe.sensors.sensor import Context, Sensor
from lsmon.probe.sensors.temperature import Temperature
from lsmon.protocol.frames import Scalars

from .workloads import digits

TRUTH = 1e-3
PARTS = 2


class Langevin:
    """Micro-batches that each carry the whole potential and a noise of their own in its linear term."""

    def __init__(self, model: nn.Module, potential: Callable[[], Tensor], lr: float, decay: float, heat: float, seed: int, parts: int = PARTS) -> None:  # fmt: skip
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
        return self.potential() + torch.stack(tilt).sum()

    def step(self) -> None:
        batch = [self.scale * torch.randn(self.parts, *p.shape, generator=self.generator) for p in self.parameters]  # fmt: skip
        for part in range(self.parts):
            torch.autograd.backward(self.loss_fn(self.model, [n[part : part + 1] for n in batch]) / self.parts)  # fmt: skip
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        if hasattr(self, "instruments"):
            self.instruments.step(self.steps, 1, batch)

    def last(self, name: str) -> tuple[float, float, str]:
        frame = [frame for frame in self.found if name in frame.values][-1]
        return frame.values[name], frame.errors[name], frame.words[name]


def network(seed: int, lr: float = 0.5, decay: float = 2e-2, heat: float = TRUTH) -> Langevin:
    """64-16-10, d = 1210, on 128 digits, whole batch."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    images, labels = (part[:128] for part in digits()[0])
    return Langevin(model, lambda: nn.functional.cross_entropy(model(images), labels), lr, decay, heat, seed)


def quadratic(curvatures: Tensor, lr: float, heat: float, seed: int, parts: int = PARTS) -> Langevin:
    model = nn.Module()
    x = nn.Parameter(torch.zeros(len(curvatures)))
    model.register_parameter("x", x)
    return Langevin(model, lambda: 0.5 * (curvatures * x.square()).sum(), lr, 0.0, heat, seed, parts)


def temperature() -> None:
    makers: dict[str, Callable[[int], Langevin]] = {
        "quadratic, d = 10": lambda seed: quadratic(torch.logspace(-1, 1, 10), 0.1, TRUTH, seed),
        "quadratic, d = 100": lambda seed: quadratic(torch.logspace(-1, 1, 100), 0.1, TRUTH, seed),
        "digits network, d = 1210": network,
    }
    for name, make in makers.items():
        errors, inside = [], 0
        for seed in range(100):
            run = make(seed)
            run.watch(Temperature())
            for _ in range(110):
                run.step()
            value, error, words = run.last("temperature/noise")
            assert "n=96" in words
            errors.append(value / TRUTH - 1)
            inside += abs(value - TRUTH) <= 2 * error
        print(
            f"{name:28} error {statistics.mean(errors):+.2%} ± {statistics.stdev(errors):.2%}, worst {max(map(abs, errors)):.2%};"
            f" the truth lies within 2σ in {inside} of 100"
        )


def gauge() -> None:
    """A hundred times cooler, so that the way down is long."""
    run = network(0, lr=0.05, heat=TRUTH / 100)
    run.watch(Temperature(), Equilibrium())
    for _ in range(240):
        run.step()
    value, error, words = run.last("temperature/equilibrium")
    print(f"digits network on its way down: R = {value:.1f} ± {2 * error:.1f} (2σ), {words}")
    run.accelerate(0.5)
    told: dict[str, int] = {}
    for _ in range(6000):
        run.step()
        names = [frame for frame in run.found[-3:] if "temperature/equilibrium" in frame.values]
        for frame in names:
            told.setdefault(frame.words["temperature/equilibrium"].split(";")[0], run.steps)
    value, error, words = run.last("temperature/equilibrium")
    print(f"    then, at a larger learning rate until it stands: first read as {told}")
    print(f"    at the end R = {value:.2f} ± {2 * error:.2f} (2σ), {words}")


def heating(directions: int = 9_000_000, lr: float = 0.01, curvature: float = 0.1) -> None:
    run = quadratic(torch.full((directions,), curvature), lr, TRUTH, 0, parts=4)
    before = lr / 10
    noise = 2 * TRUTH / lr
    with torch.no_grad():
        spread = before * noise / (2 - before * curvature) / curvature
        run.parameters[0].copy_(math.sqrt(spread) * torch.randn(directions, generator=run.generator))
    run.watch(Equilibrium())
    began = time.perf_counter()
    while not any("temperature/equilibrium" in frame.values for frame in run.found):
        run.step()
    value, error, words = run.last("temperature/equilibrium")
    print(
        f"η → 10 η from equilibrium: R = {value:.2f} ± {2 * error:.2f} (2σ), {words.split(';')[0]}, after {run.steps} steps"
        f" ({time.perf_counter() - began:.0f} s)"
    )


def main() -> None:
    torch.set_num_threads(1)
    parts = {"temperature": temperature, "gauge": gauge, "heating": heating}
    for name in sys.argv[1:] or ("temperature", "gauge"):
        parts[name]()


if __name__ == "__main__":
    main()
