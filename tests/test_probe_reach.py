"""Losses that go through more than their model: what stands beside it is measured at its step, and left as it was."""

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
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from lsmon.probe import Probe, measure
from lsmon.probe.measuring import measuring
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.operators.reach import reach
from lsmon.probe.reference import Reference
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.protocol.frames import Curvature, Scalars
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.test_probe_oath import assert_same, of, own_folders, recorded

__all__ = ["own_folders"]  # a fixture, used by name

STEPS = 90
LossFn = Callable[[nn.Module, Tensor], Tensor]
FEATURES: list[Tensor] = []
GRADIENTS: list[Tensor] = []


def network(out: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, out))


def plain(model: nn.Module, batch: Tensor) -> Tensor:
    loss: Tensor = (model(batch) ** 2).mean()
    return loss


class Appending(nn.Module):
    """Auxiliary losses of a forward pass, taken by the loop; a counter; a mean that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.aux = network(), [torch.zeros(())]
        self.counts = {"forward": 0}
        self.centre = torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        self.aux.append(y.abs().mean())
        self.counts["forward"] += 1
        self.centre.mul_(0.9).add_(y.detach().mean(0), alpha=0.1)
        return y - self.centre


def with_aux(model: Any, batch: Tensor) -> Tensor:
    loss = plain(model, batch)
    aux: Tensor = model.aux[-1]
    return loss + 0.1 * aux


def hooked(by: str = "register_forward_hook") -> nn.Module:
    """Features, or gradients, are collected by a hook, in a list that is nobody's attribute."""
    model = network()
    if by == "register_forward_hook":
        model[0].register_forward_hook(lambda module, inputs, output: FEATURES.append(output))
    else:
        getattr(model[2], by)(lambda module, *gradients: GRADIENTS.append(gradients[-1][0].detach()))
    return model


class Centred(nn.Module):
    """A criterion with a state of its own, as of DINO."""

    centre: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(3))

    def forward(self, model: nn.Module, batch: Tensor) -> Tensor:
        y: Tensor = model(batch)
        self.centre += 0.1 * (y.detach().mean(0) - self.centre)
        loss: Tensor = ((y - self.centre) ** 2).mean()
        return loss


class Trainer:
    """Its loss is a method, and goes through a critic in training mode that it holds in a dict."""

    def __init__(self) -> None:
        self.parts = {
            "critic": nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Softplus(), nn.Linear(5, 1))
        }
        self.calls: list[float] = []

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        self.calls.append(float(len(batch)))
        return F.softplus(-self.parts["critic"](model(batch))).mean()


def cases() -> dict[str, tuple[nn.Module, LossFn, list[Any]]]:
    """A model, its loss, and whatever else the loss may change."""
    torch.manual_seed(0)
    appending, centred, trainer = Appending(), Centred(), Trainer()
    return {
        "lists, dicts and tensors of the model": (appending, with_aux, [appending.counts, appending.centre]),
        "a hook's list": (hooked(), plain, []),
        "a backward hook's list": (hooked("register_full_backward_hook"), plain, []),
        "what comes before it": (hooked("register_full_backward_pre_hook"), plain, []),
        "a criterion": (network(), centred, [centred]),
        "a trainer's critic": (network(), trainer.loss, [trainer.parts["critic"], trainer.calls]),
    }


def train(name: str, probed: bool) -> dict[str, Any]:
    FEATURES.clear()
    GRADIENTS.clear()
    model, loss_fn, beside = cases()[name]
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    data = torch.randn(32, 4)
    probe = Probe(model, optimizer, loss_fn, name="reach", budget=1.0, reference=data) if probed else None
    losses, lengths = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        if isinstance(model, Appending):
            model.aux.clear()
        loss = loss_fn(model, data)
        if FEATURES:
            loss = loss + 1e-3 * torch.stack(FEATURES).square().mean()
        torch.autograd.backward(loss)
        optimizer.step()
        lengths.append(len(FEATURES) + len(getattr(model, "aux", ())))
        FEATURES.clear()
        losses.append(loss.detach().clone())
        if probe is not None:
            probe.step(loss, data)
    if probe is not None:
        probe.close()
    kept = [one.state_dict() if isinstance(one, nn.Module) else copy.copy(one) for one in beside]
    lengths.append(len(GRADIENTS))
    return {"losses": torch.stack(losses), "model": model.state_dict(), "beside": kept, "lengths": lengths}


@pytest.mark.parametrize("name", cases())
def test_what_stands_beside_the_model_is_left_as_it_was(name: str, tmp_path: Path) -> None:
    """Bit for bit, and the loop finds in its lists what it has put there."""
    assert_same(train(name, False), train(name, True))
    assert len(of(recorded(tmp_path), Curvature)) >= 2


def test_curvature_is_that_of_its_step_while_a_critic_moves(tmp_path: Path) -> None:
    """Products are spread over steps in which the other network is trained; the values are those of a dense Hessian in
    double precision with both as they were at the step that is told."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    critic, mean = (nn.Sequential(nn.Linear(3, 5), nn.Softplus(), nn.Linear(5, 1)) for _ in range(2))
    mean.requires_grad_(False)
    data, real = torch.randn(32, 4), torch.randn(32, 3)

    def loss_fn(model: nn.Module, batch: Tensor) -> Tensor:
        made = model(batch)
        loss: Tensor = F.softplus(-critic(made)).mean() + (critic(made) - mean(made)).square().mean()
        return loss

    slow, fast = torch.optim.SGD(model.parameters(), 0.01), torch.optim.Adam(critic.parameters(), 0.01)
    places = {}
    sensors = [CurvatureSensor()]
    with Probe(model, slow, loss_fn, name="gan", budget=1.0, reference=data, sensors=sensors) as probe:
        for step in range(1, 91):
            fast.zero_grad()
            made = model(data).detach()
            torch.autograd.backward(F.softplus(-critic(real)).mean() + F.softplus(critic(made)).mean())
            fast.step()
            with torch.no_grad():
                for average, now in zip(mean.parameters(), critic.parameters(), strict=True):
                    average.lerp_(now, 0.1)
            slow.zero_grad()
            loss = loss_fn(model, data)
            torch.autograd.backward(loss)
            slow.step()
            places[step] = copy.deepcopy((model, critic, mean))
            probe.step(loss, data)
    frames = of(recorded(tmp_path), Curvature)
    assert len(frames) >= 2
    for frame in frames:
        assert "exact" in frame.method
        old, critic, mean = (each.double() for each in copy.deepcopy(places[frame.step]))
        values = torch.linalg.eigvalsh(dense(old, loss_fn, data.double()))
        for ritz in (*frame.top, *frame.bottom):
            assert float((values - ritz.value).abs().min()) <= ritz.residual + 1e-5


class Taught(nn.Module):
    """A student and, frozen, the running average of it (BYOL, Grill et al. 2020; MoCo, DINO) in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return F.mse_loss(self.student(x), self.teacher(x.flip(1)))


def test_curvature_is_that_of_its_step_while_a_teacher_follows(tmp_path: Path) -> None:
    """It is part of the model, no parameter of it has a gradient, and it moves at every step."""
    torch.manual_seed(0)
    model, data = Taught(), torch.randn(32, 4)
    optimizer = torch.optim.SGD(model.student.parameters(), 0.1)

    def loss_fn(model: nn.Module, batch: Tensor) -> Tensor:
        loss: Tensor = model(batch)
        return loss

    places, sensors = {}, [CurvatureSensor()]
    with Probe(model, optimizer, loss_fn, name="byol", budget=1.0, reference=data, sensors=sensors) as probe:
        for step in range(1, 91):
            loss = loss_fn(model, data)
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                for average, now in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
                    average.lerp_(now, 0.2)
            places[step] = copy.deepcopy(model)
            probe.step(loss, data)
    frames = of(recorded(tmp_path), Curvature)
    assert len(frames) >= 2
    for frame in frames:
        assert "exact" in frame.method
        values = torch.linalg.eigvalsh(dense(places[frame.step].double(), loss_fn, data.double()))
        for ritz in (*frame.top, *frame.bottom):
            assert float((values - ritz.value).abs().min()) <= ritz.residual + 1e-5


def dense(model: nn.Module, loss_fn: LossFn, batch: Tensor) -> Tensor:
    leaves = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss_fn(model, batch), leaves, create_graph=True)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    rows = [torch.autograd.grad(entry, leaves, retain_graph=True) for entry in flat]
    return torch.stack([torch.cat([piece.reshape(-1) for piece in row]) for row in rows])


def test_what_a_loss_tells_the_probe_while_it_is_measured_is_not_of_the_training(tmp_path: Path) -> None:
    """Every step has the one value of its own batch."""
    torch.manual_seed(0)
    model, data = network(), torch.randn(32, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    told = 0

    def loss_fn(model: nn.Module, batch: Tensor) -> Tensor:
        nonlocal told
        told += not measuring()
        probe.log(accuracy=float(told))
        return plain(model, batch)

    probe = Probe(model, optimizer, loss_fn, name="logging", budget=1.0, reference=data)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_fn(model, data)
        torch.autograd.backward(loss)
        optimizer.step()
        probe.step(loss, data)
    probe.close()
    frames = recorded(tmp_path)
    assert of(frames, Curvature)
    said = [frame.values["accuracy"] for frame in of(frames, Scalars) if "accuracy" in frame.values]
    assert said == [float(step) for step in range(1, STEPS + 1)]


class LightningModule(nn.Module):
    """What Lightning's does: its trainer adds up what it is told."""

    def __init__(self, told: Any) -> None:
        super().__init__()
        self.net, self.trainer = network(), told

    def log(self, name: str, value: Tensor, *, on_epoch: bool) -> None:
        self.trainer.loops[0].epoch.results.totals[name] += float(value.detach())

    def log_dict(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            LightningModule.log(self, name, value, on_epoch=True)


class Lit(LightningModule):
    def training_step(self, batch: Tensor) -> Tensor:
        loss = plain(self.net, batch)
        self.log("loss", loss, on_epoch=True)
        self.log_dict({"twice": 2 * loss})
        return loss


def test_what_a_loss_tells_lightning_while_it_is_measured_is_not_of_the_training(tmp_path: Path) -> None:
    """Means over an epoch stop the training early and choose its checkpoint."""
    totals = []
    for probed in (False, True):
        torch.manual_seed(0)
        results = SimpleNamespace(totals={"loss": 0.0, "twice": 0.0})
        model: Any = Lit(SimpleNamespace(loops=[SimpleNamespace(epoch=SimpleNamespace(results=results))]))
        optimizer, data = torch.optim.SGD(model.parameters(), 0.1), torch.randn(32, 4)
        probe = None
        if probed:
            probe = Probe(model, optimizer, Lit.training_step, name="lit", budget=1.0, reference=data)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = model.training_step(data)
            torch.autograd.backward(loss)
            optimizer.step()
            if probe is not None:
                probe.step(loss, data)
        if probe is not None:
            probe.close()
            assert of(recorded(tmp_path), Curvature)
        totals.append(results.totals)
        assert "log" not in vars(model)
    assert totals[0] == totals[1]


class Bounded(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return torch.tanh(weight)


def test_weights_that_a_block_has_cached_are_not_those_of_the_measurement(tmp_path: Path) -> None:
    """``parametrize.cached`` around the whole step: parametrized weights are those of the step that is measured."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    parametrize.register_parametrization(model[0], "weight", Bounded())
    optimizer, data, places = torch.optim.SGD(model.parameters(), 0.05), torch.randn(16, 4), {}
    sensors = [CurvatureSensor()]
    with Probe(model, optimizer, plain, name="cached", budget=1.0, reference=data, sensors=sensors) as probe:
        for step in range(1, 61):
            with parametrize.cached():
                optimizer.zero_grad()
                loss = plain(model, data)
                torch.autograd.backward(loss)
                optimizer.step()
                places[step] = copy.deepcopy(model)
                probe.step(loss, data)
    frames = of(recorded(tmp_path), Curvature)
    assert frames
    for frame in frames:
        values = torch.linalg.eigvalsh(dense(places[frame.step].double(), plain, data.double()))
        for ritz in (*frame.top, *frame.bottom):
            assert float((values - ritz.value).abs().min()) <= ritz.residual + 1e-5


def test_a_counter_of_operations_counts_the_loops(tmp_path: Path) -> None:
    """Such modes are the loop's own, and what is measured is not."""
    counts = []
    for probed in (False, True):
        with FlopCounterMode(display=False) as counter:
            train("a hook's list", probed)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_a_part_of_the_model_or_what_holds_it_is_nothing_beside_it() -> None:
    """The same parameters by another way have the same copies."""
    model = network()
    holder = nn.ModuleDict({"model": model})
    data = torch.randn(16, 4)
    alone = measure(model, plain, data, probes=0)
    for loss_fn in (
        lambda m, b: plain(holder["model"], b),
        partial(lambda part, m, b: plain(m, b), model[0]),
    ):
        found = measure(model, loss_fn, data, probes=0)
        assert found.top[0].value == pytest.approx(alone.top[0].value, rel=1e-6)
    assert reach(model, lambda m, b: plain(model, b)).modules == []


def test_a_large_frozen_network_is_not_copied() -> None:
    """It is a given; that it is changed all the same is noticed."""
    given = nn.Linear(3, 200).requires_grad_(False)
    operator = Hessian(network(), lambda m, b: given(m(b)).square().mean(), Reference(torch.randn(8, 4)))
    vector = torch.ones(operator.dim)
    before = operator.matvec(vector)
    assert torch.equal(before, operator.matvec(vector))
    given.weight.data.mul_(2)
    given.weight.add_(1)
    with pytest.raises(RuntimeError, match="frozen parameter was changed"):
        operator.matvec(vector)


def test_data_is_not_looked_into() -> None:
    """Long lists are neither copied nor searched; what was added to one is taken off."""
    rows = [object() for _ in range(100_000)]

    def loss_fn(model: nn.Module, batch: Tensor) -> Tensor:
        rows.append(batch)
        return plain(model, batch)

    found = reach(network(), loss_fn)
    assert any(holder is rows for holder in found.holders)
    assert len(found.holders) < 10
    measure(network(), loss_fn, torch.randn(8, 4), probes=0)
    assert len(rows) == 100_000


def test_the_lists_of_an_object_that_is_merely_named_are_its_own() -> None:
    """Such as a logger with a thread; a network in it is found all the same."""

    class Logger:
        def __init__(self) -> None:
            self.queue: list[float] = []
            self.critic = nn.Linear(3, 1)

    class Task:
        def __init__(self) -> None:
            self.calls: list[float] = []
            self.logger = Logger()

        def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
            self.calls.append(0.0)
            self.logger.queue.append(0.0)
            return plain(model, batch)

    task = Task()
    found = reach(network(), task.loss)
    assert any(holder is task.calls for holder in found.holders)
    assert not any(holder is task.logger.queue for holder in found.holders)
    assert found.modules == [task.logger.critic]
