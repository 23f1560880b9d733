"""The oath, clause 1, on the kinds of model that people train: convolutions, fused attention, Adam, autocast."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from lsmon.probe import Probe
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.probe.sensors.layers import LayerScale
from lsmon.probe.sensors.scale import Scale
from lsmon.probe.sensors.sensor import Sensor
from lsmon.probe.sensors.temperature import Temperature
from lsmon.protocol.frames import Alert, Curvature, Heartbeat
from tests.test_probe_oath import assert_same, of, own_folders, recorded

__all__ = ["own_folders"]  # a fixture, used by name

Batch = tuple[Tensor, Tensor]
STEPS = 120


class Attention(nn.Module):
    """One block of a language model: the fused kernel, whose double backward does not exist, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(11, 16), nn.Embedding(8, 16)
        self.heads, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.norm, self.drop = nn.LayerNorm(16), nn.Dropout(0.1)
        self.head = nn.Linear(16, 11, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        rows, length = tokens.shape
        x = self.tokens(tokens) + self.places(torch.arange(length))
        parts = self.heads(self.norm(x)).view(rows, length, 3, 2, 8).permute(2, 0, 3, 1, 4)
        rate = 0.1 if self.training else 0.0
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], dropout_p=rate, is_causal=True)
        x = x + self.drop(self.out(mixed.transpose(1, 2).reshape(rows, length, 16)))
        logits: Tensor = self.head(x)
        return logits


def dense_net() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )  # fmt: skip


class Shared(nn.Module):
    """Layers in two places each, as in ALBERT, and a part with two names."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh())
        self.layers = nn.ModuleList([layer, layer])
        self.head = self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.out(x)  # type: ignore[no-any-return]


def spectral() -> nn.Module:
    """Whose weight is another one each time it is asked for."""
    return nn.Sequential(spectral_norm(nn.Linear(8, 16)), nn.Tanh(), nn.Linear(16, 3))


def vectors() -> Batch:
    return torch.randn(64, 8), torch.randint(0, 3, (64,))


def images() -> Batch:
    return torch.randn(64, 1, 4, 4), torch.randint(0, 3, (64,))


def windows() -> Batch:
    tokens = torch.randint(0, 11, (64, 9))
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    outputs = model(batch[0])
    return F.cross_entropy(outputs.flatten(0, -2), batch[1].flatten())


def cast_loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return loss_fn(model, batch)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Batch], bool, Any]] = {
    "dropout and BatchNorm": (dense_net, vectors, False, loss_fn),
    "layers in two places": (Shared, vectors, False, loss_fn),
    "spectral normalisation": (spectral, vectors, False, loss_fn),
    "convolutions": (conv_net, images, False, loss_fn),
    "convolutions, Adam": (conv_net, images, True, loss_fn),
    "fused attention, Adam": (Attention, windows, True, loss_fn),
    "bfloat16 autocast": (dense_net, vectors, False, cast_loss_fn),
    "fused attention, bfloat16, Adam": (Attention, windows, True, cast_loss_fn),
}


def train(name: str, sensors: list[Sensor] | None) -> dict[str, Any]:
    """Everything that a probe might have touched."""
    make, draw, adam, loss = CASES[name]
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(0)
    model = make()
    optimizer: torch.optim.Optimizer
    if adam:
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    else:
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    data = draw()
    probe = None
    if sensors is not None:
        probe = Probe(model, optimizer, loss, name="oath", budget=1.0, sensors=sensors, reference=data)
    losses = []
    for _ in range(STEPS):
        rows = torch.randint(0, 64, (16,))
        batch = data[0][rows], data[1][rows]
        optimizer.zero_grad()
        value = loss(model, batch)
        torch.autograd.backward(value)
        optimizer.step()
        losses.append(value.detach().clone())
        if probe is not None:
            probe.step(value, batch)
    if probe is not None:
        probe.close()
    return {
        "losses": torch.stack(losses),
        "model": model.state_dict(),
        "gradients": [parameter.grad for parameter in model.parameters()],
        "optimizer": optimizer.state_dict(),
        "moved by the optimizer": [
            {id(p) for p in model.parameters()}
            == {id(p) for g in optimizer.param_groups for p in g["params"]}
        ],
        "flags": [module.training for module in model.modules()],
        "streams": (torch.get_rng_state(), random.getstate(), np.random.get_state()),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "grad": torch.is_grad_enabled(),
    }


def everything() -> list[Sensor]:
    return [Scale(seconds=0.0), LayerScale(seconds=0.0), Temperature(), CurvatureSensor(steps=10)]


@pytest.mark.parametrize("name", CASES)
def test_training_is_bit_identical(name: str, tmp_path: Path) -> None:
    """Parameters, buffers, optimizer state, gradients, losses, flags and random streams after 80 steps with every
    sensor on are those of the training without a probe."""
    assert_same(train(name, None), train(name, everything()))
    frames = recorded(tmp_path)
    curvatures = of(frames, Curvature)
    assert len(curvatures) >= 2
    assert all(one.batch == 64 and one.top[0].value > 0 for one in curvatures)
    assert not [notes for beat in of(frames, Heartbeat) for notes in beat.notes.values() if "off" in notes]


@pytest.mark.parametrize("name", ["dropout and BatchNorm", "fused attention, bfloat16, Adam"])
@pytest.mark.parametrize("after", [2, 15])
def test_and_when_the_curvature_raises_in_the_middle(
    name: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product that raises leaves nothing behind, and another way is found or the sensor goes off."""
    without = train(name, None)
    plain, calls = Hessian.matvec, 0

    def failing(self: Hessian, vector: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > after:
            raise RuntimeError("DefaultCPUAllocator: not enough memory")
        return plain(self, vector)

    monkeypatch.setenv("LSMON_STRICT", "0")
    monkeypatch.setattr(Hessian, "matvec", failing)
    assert_same(without, train(name, everything()))
    assert calls > after
    methods = [one.method for one in of(recorded(tmp_path), Curvature)]
    assert any("finite difference" in method for method in methods) or not methods


def test_a_lazy_model_is_measured_once_it_knows_its_parameters(tmp_path: Path) -> None:
    """The probe is made before the first forward pass; nothing goes off, and curvature comes."""
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(3)), torch.randn(32, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Probe(
        model, optimizer, lambda m, b: m(b).square().mean(), name="lazy", budget=1.0, reference=data
    ) as probe:
        for _ in range(40):
            optimizer.zero_grad()
            loss = model(data).square().mean()
            torch.autograd.backward(loss)
            optimizer.step()
            probe.step(loss, data)
    frames = recorded(tmp_path)
    assert of(frames, Curvature) and not of(frames, Alert)
