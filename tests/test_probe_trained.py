"""Parameters that a loss reads from elsewhere than a module: curvature counts them, or says that it cannot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lsmon.probe import Probe, measure
from lsmon.probe.operators.difference import Difference
from lsmon.probe.reference import Reference
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import Curvature
from tests.landscape import apart
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.test_probe_oath import of, own_folders, recorded
from tests.test_probe_reach import dense

__all__ = ["own_folders"]  # a fixture, used by name

LossFn = Callable[[Any, Any], Tensor]

WEIGHT: Any = None


def network(depth: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.Tanh(), *[nn.Linear(3, 3) for _ in range(depth)])


def plain(model: Any, batch: Tensor) -> Tensor:
    return F.cross_entropy(model(batch), torch.arange(len(batch)) % 3)


def squares(parameters: Any) -> Tensor:
    return 0.5 * torch.stack([parameter.square().sum() for parameter in parameters]).sum()


def quartic(model: Any, batch: Tensor, weight: Tensor) -> Tensor:
    return plain(model, batch) + weight.pow(4).sum()


class Trainer:
    def __init__(self, model: nn.Module) -> None:
        self.parameters = list(model.parameters())


def in_a_list(model: nn.Module) -> LossFn:
    parameters = list(model.parameters())
    return lambda model, batch: plain(model, batch) + squares(parameters)


def in_a_tuple(model: nn.Module) -> LossFn:
    parameters = tuple(model.parameters())
    return lambda model, batch: plain(model, batch) + squares(parameters)


def in_pairs(model: nn.Module) -> LossFn:
    parameters = list(model.named_parameters())
    return lambda model, batch: plain(model, batch) + squares([p for _, p in parameters])


def in_a_dict(model: nn.Module) -> LossFn:
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    return lambda model, batch: plain(partial(functional_call, model, parameters), batch)


def in_a_trainer(model: nn.Module) -> LossFn:
    trainer = Trainer(model)
    return lambda model, batch: plain(model, batch) + squares(trainer.parameters)


def in_the_model(model: nn.Module) -> LossFn:
    model.regularised = list(model.parameters())  # type: ignore[assignment]
    return lambda model, batch: plain(model, batch) + squares(model.regularised)


def by_name(model: nn.Module) -> LossFn:
    weight = model[0].weight  # type: ignore[index]
    return lambda model, batch: quartic(model, batch, weight)


def in_a_partial(model: nn.Module) -> LossFn:
    return partial(quartic, weight=model[0].weight)  # type: ignore[index]


def as_a_global(model: nn.Module) -> LossFn:
    global WEIGHT
    WEIGHT = model[0].weight  # type: ignore[index]
    return lambda model, batch: quartic(model, batch, WEIGHT)


CASES = [
    in_a_list, in_a_tuple, in_pairs, in_a_dict, in_a_trainer, in_the_model, by_name, in_a_partial, as_a_global
]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "depth"), [*((place, 1) for place in CASES), (in_pairs, 40), (in_a_dict, 40)]
)
def test_parameters_that_are_read_from_elsewhere_count(
    place: Callable[[nn.Module], LossFn], depth: int
) -> None:
    """A penalty on them is not a constant, also where there are more of them than a container has that is looked into."""
    model, batch = network(depth), torch.randn(12, 3)
    loss_fn = place(model)
    before = [(parameter, parameter.clone()) for parameter in model.parameters()]
    found = measure(model, loss_fn, batch, k=1, probes=0)
    true = torch.linalg.eigvalsh(dense(model, loss_fn, batch))
    assert found.top[0].value == pytest.approx(float(true[-1]), rel=1e-2)
    assert not any("not checked" in note for note in found.notes)
    for parameter, (was, value) in zip(model.parameters(), before, strict=True):
        assert parameter is was and torch.equal(parameter, value)
    assert torch.equal(loss_fn(model, batch), loss_fn(model, batch))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_where_they_are_out_of_reach_that_is_said() -> None:
    model, batch = network(), torch.randn(12, 3)
    deep: Any = model[0].weight
    for _ in range(6):
        deep = SimpleNamespace(inner=deep)

    def loss_fn(model: Any, batch: Tensor) -> Tensor:
        return quartic(model, batch, deep.inner.inner.inner.inner.inner.inner)

    with pytest.raises(UsageError, match="from elsewhere than the model"):
        measure(model, loss_fn, batch)


@pytest.mark.parametrize("kind", [nn.Parameter, lambda value: value.requires_grad_()])
def test_what_is_trained_beside_the_model_is_that_of_its_step(
    kind: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    """A temperature in no module moves at every step: a kept graph would refuse it, and differences would be of several
    losses."""
    model, batch, scale = network(), torch.randn(12, 3), kind(torch.ones(()))

    def loss_fn(model: Any, batch: Tensor) -> Tensor:
        return F.cross_entropy(model(batch) * scale, torch.arange(len(batch)) % 3)

    optimizer = torch.optim.Adam([*model.parameters(), scale], 1e-2)
    places = {}
    with Probe(
        model, optimizer, loss_fn, name="scaled", budget=1.0, reference=batch, sensors=[CurvatureSensor()]
    ) as probe:
        for step in range(1, 61):
            optimizer.zero_grad()
            loss = loss_fn(model, batch)
            torch.autograd.backward(loss)
            optimizer.step()
            places[step] = copy.deepcopy(model), float(scale.detach())
            probe.step(loss, batch)
    frames = of(recorded(tmp_path), Curvature)
    assert frames
    for frame in frames:
        assert not any("not checked" in note for note in frame.notes)
        twin, value = places[frame.step]
        with torch.no_grad():
            scale.fill_(value)
        true = torch.linalg.eigvalsh(dense(twin, loss_fn, batch))
        assert apart(torch.tensor(frame.top[0].value), true[-1]) < 1e-2


def test_one_that_is_frozen_meanwhile_costs_nothing() -> None:
    """Differences are taken over many steps, in which a training may freeze a layer."""
    model, batch = network(), torch.randn(12, 3)
    point = Difference(model, plain, Reference(batch))
    before = point.product(point.gradient, 1e-3)
    model[0].requires_grad_(False)
    assert torch.equal(before, point.product(point.gradient, 1e-3))
