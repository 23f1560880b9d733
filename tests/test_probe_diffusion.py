"""Displacements of known walks, and the fluctuation relation where it is exact."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe.algorithms.sketch import BLOCK, Sketch
from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.diffusion import Diffusion
from lsmon.probe.sensors.fluctuation import Fluctuation
from lsmon.probe.sensors.sensor import Context, Sensor
from lsmon.protocol.frames import Scalars
from tests.one_thread import one_thread  # noqa: F401 (autouse)


def walk(
    sensor: Sensor,
    force: Callable[[int, Tensor], Tensor],
    steps: int,
    make: Any = torch.optim.SGD,
    dim: int = 500,
    batch: Tensor | None = None,
    burn_in: int = 0,
    **settings: Any,
) -> list[Scalars]:
    """A parameter pulled by ``-force(step, θ)``, watched by one sensor."""
    model = nn.Module()
    position = nn.Parameter(torch.zeros(dim))
    model.register_parameter("position", position)
    examples = settings.pop("examples", None)
    optimizer = make([position], **({"lr": 0.1} | settings))
    found: list[Scalars] = []
    for step in range(-burn_in, 0):
        position.grad = force(step, position.detach())
        optimizer.step()
    context = Context(model, optimizer, examples=examples)
    instruments = Instruments([sensor], context, Budget(1.0), Guard(strict=True), found.append)
    for step in range(steps):
        position.grad = force(step, position.detach())
        optimizer.step()
        instruments.step(step, 1, batch)
    instruments.close()
    return found


def noise(dim: int = 500, seed: int = 0) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(dim, generator=generator)


def test_the_sketch_keeps_distances() -> None:
    """Unbiased over seeds, within √(2/256) for each, in pieces too, and linear."""
    generator = torch.Generator().manual_seed(0)
    one = [torch.randn(3, 50, generator=generator), torch.randn(BLOCK + 1000, generator=generator)]
    two = [tensor + 0.01 * torch.randn(tensor.shape, generator=generator) for tensor in one]
    truth = math.fsum(float((a - b).double().square().sum()) for a, b in zip(one, two, strict=True))
    ratios = []
    for seed in range(12):
        sketch = Sketch(seed=seed)
        ratios.append(float((sketch.of(one) - sketch.of(two)).square().sum()) / truth)
    assert all(abs(ratio - 1) < 4 * math.sqrt(2 / 256) for ratio in ratios)
    assert sum(ratios) / 12 == pytest.approx(1.0, abs=3 * math.sqrt(2 / 256 / 12))
    sketch = Sketch()
    torch.testing.assert_close(sketch.of(one) * 2, sketch.of([2 * tensor for tensor in one]))
    imaginary = sketch.of([torch.full((1,), 3j)])
    assert float(imaginary.square().sum()) == pytest.approx(9.0)


@pytest.mark.parametrize(("kind", "alpha"), [("drift", 2.0), ("diffusion", 1.0), ("confined", 0.0)])
def test_the_exponent_of_known_motion(kind: str, alpha: float) -> None:
    """Ballistic 2, free diffusion 1, a stiff well 0; each within its error and 0.1."""
    fresh = noise()
    forces: dict[str, Callable[[int, Tensor], Tensor]] = {
        "drift": lambda _, x: torch.ones_like(x),
        "diffusion": lambda _, x: fresh(),
        "confined": lambda _, x: 5 * x + fresh(),
    }
    frame = walk(Diffusion(), forces[kind], 700)[-1]
    assert frame.values["diffusion/exponent"] == pytest.approx(alpha, abs=0.1 + 2 * frame.errors["diffusion/exponent"])  # fmt: skip
    assert frame.errors["diffusion/exponent"] < 0.3
    assert "the epoch is not known" in frame.words["diffusion/exponent"]


def test_shuffled_epochs_diffuse_only_within_an_epoch() -> None:
    """Noise that sums to zero over an epoch of 32 steps is diffusion below it and nothing above it."""
    data = torch.randn(32, 500, generator=torch.Generator().manual_seed(1))
    data -= data.mean(0)
    generator = torch.Generator().manual_seed(2)
    orders = [torch.randperm(32, generator=generator) for _ in range(100)]
    frames = walk(
        Diffusion(), lambda step, _: data[orders[step // 32][step % 32]], 3200, batch=torch.zeros(1, 1), examples=32
    )  # fmt: skip
    within = [frame for frame in frames if "diffusion/within_epoch" in frame.values][-1]
    across = [frame for frame in frames if "diffusion/across_epochs" in frame.values][-1]
    assert "lags of 8 and 16 steps; an epoch is 32 steps" in within.words["diffusion/within_epoch"]
    value, error = across.values["diffusion/across_epochs"], across.errors["diffusion/across_epochs"]
    assert abs(value) <= 2 * error
    assert value + 2 * error < 1.0, (value, error)
    # A bridge of 32 steps: τ(1 - τ/32) at 16 over 8 is 4/3 while both lie in one epoch; across two of them more
    assert 0.4 < within.values["diffusion/within_epoch"] < 1.0


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (torch.optim.SGD, {}),
        (torch.optim.SGD, {"momentum": 0.9, "lr": 0.02}),
        (torch.optim.SGD, {"weight_decay": 1.0}),
        (torch.optim.Adam, {"lr": 0.02}),
    ],
)
def test_fluctuation_and_dissipation_balance(make: Any, settings: dict[str, Any]) -> None:
    """Y = 1 in a quadratic's stationary state, for SGD far from small steps, heavy ball, weight decay and Adam."""
    fresh = noise()
    frames = walk(Fluctuation(), lambda _, x: 5 * x + fresh(), 700, make, burn_in=1500 if make is torch.optim.Adam else 200, **settings)  # fmt: skip
    frame = frames[-1]
    value, error = frame.values["fluctuation/ratio"], frame.errors["fluctuation/ratio"]
    assert value == pytest.approx(1.0, abs=0.05)
    assert abs(value - 1.0) <= 2.5 * error + (
        0.02 if make is torch.optim.Adam else 0.0
    )  # P is not quite frozen
    assert "reference of step 0" in frame.words["fluctuation/ratio"]


def test_free_weights_are_not_stationary() -> None:
    """Without a force Y is far below 1 for ever."""
    fresh = noise()
    found = walk(Fluctuation(), lambda _, x: fresh(), 700)
    assert not found or found[-1].values["fluctuation/ratio"] < 0.5


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.RMSprop])
def test_where_the_relation_is_not_known_it_says_so(make: Any) -> None:
    """A note and no fault: decoupled decay and other optimizers are no mistake."""
    fresh = noise()
    sensor = Fluctuation()
    assert not walk(sensor, lambda _, x: fresh(), 200, make, lr=1e-3)
    assert sensor.every > 1000
    assert sensor.measure(Context()) is None


def test_it_says_so_of_an_optimizer_that_is_never_seen_to_step() -> None:
    """One of sharpness-aware minimisation lets another step."""
    optimizer = torch.optim.RMSprop([torch.nn.Parameter(torch.zeros(3))])
    context, sensor = Context(optimizer=optimizer, step=50), Fluctuation()
    assert sensor.measure(context) is None
    assert context.notes["fluctuation"] == "known for SGD without dampening, heavy ball and Adam only"
