"""Numbers, small tensors and generators that a loss reads and writes: as they were at the step that is measured, and
left as the loop has them."""

from __future__ import annotations

import copy
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsmon.probe import Probe
from lsmon.probe.operators.large import SMALL, Overwritten
from lsmon.probe.operators.place import Place
from lsmon.probe.operators.reach import reach
from lsmon.probe.operators.variables import Variables
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.protocol.frames import Curvature, Heartbeat
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.test_probe_oath import of, own_folders, recorded
from tests.test_probe_reach import dense

__all__ = ["own_folders"]  # a fixture, used by name

Batch = tuple[Tensor, Tensor]
LossFn = Callable[[Any, Batch], Tensor]
Look = Callable[[], Any]

CALLS = 0


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def plain(model: Any, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def penalty(model: nn.Module) -> Tensor:
    return torch.stack([parameter.square().sum() for parameter in model.parameters()]).sum()


def warmed(model: nn.Module, batch: Batch, calls: int) -> Tensor:
    """As with the weight of a KL term."""
    return plain(model, batch) + min(1.0, calls / 100) * 0.1 * penalty(model)


def counting_object() -> tuple[LossFn, Look]:
    class Loss:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
            self.calls += 1
            return warmed(model, batch, self.calls)

    loss = Loss()
    return loss, lambda: loss.calls


def counting_trainer() -> tuple[LossFn, Look]:
    class Trainer:
        calls = 0

        def training_step(self, model: nn.Module, batch: Batch) -> Tensor:
            self.calls += 1
            return warmed(model, batch, self.calls)

    trainer = Trainer()
    return trainer.training_step, lambda: trainer.calls


def nonlocal_counter() -> tuple[LossFn, Look]:
    calls = 0

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        return warmed(model, batch, calls)

    return loss, lambda: calls


def global_counter() -> tuple[LossFn, Look]:
    global CALLS
    CALLS = 0

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        global CALLS
        CALLS += 1
        return warmed(model, batch, CALLS)

    return loss, lambda: CALLS


def running_tensor() -> tuple[LossFn, Look]:
    """Bound anew at each call."""
    mean = torch.zeros(3)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal mean
        outputs = model(batch[0])
        mean = 0.9 * mean + 0.1 * outputs.detach().mean(0)
        return F.cross_entropy(outputs - mean, batch[1])

    return loss, lambda: mean.tolist()


def written(holder: Any, key: Any) -> Callable[[], tuple[LossFn, Look]]:
    """A tensor that is written to in place."""

    def make() -> tuple[LossFn, Look]:
        mean = torch.zeros(3)
        held = holder(mean)

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            here = held if key is None else held[key]
            outputs = model(batch[0])
            here.mul_(0.9).add_(outputs.detach().mean(0), alpha=0.1)
            return F.cross_entropy(outputs - here, batch[1])

        return loss, lambda: mean.tolist()

    return make


def an_array() -> tuple[LossFn, Look]:
    mean = np.zeros(3, dtype=np.float32)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        outputs = model(batch[0])
        mean[:] = 0.9 * mean + 0.1 * outputs.detach().mean(0).numpy()
        return F.cross_entropy(outputs - torch.from_numpy(mean), batch[1])

    return loss, lambda: mean.tolist()


def a_history() -> tuple[LossFn, Look]:
    last, kinds = deque[float](maxlen=20), Counter[str]()

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        found = plain(model, batch)
        last.append(float(found.detach()))
        kinds["calls"] += 1
        return found * (1 + 0.1 * sum(last) / len(last))

    return loss, lambda: (list(last), dict(kinds))


def own_generators() -> tuple[LossFn, Look]:
    drawn, of_numpy, of_python = torch.Generator().manual_seed(0), np.random.default_rng(0), random.Random(0)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        noise = torch.randn(batch[0].shape, generator=drawn) * of_numpy.random() * of_python.random()
        return plain(model, (batch[0] + 0.1 * noise, batch[1]))

    return loss, lambda: (drawn.get_state().tolist(), of_numpy.bit_generator.state, of_python.getstate())


def queue(how: str) -> Callable[[], tuple[LossFn, Look]]:
    """Keys of contrastive learning, too many to be copied for each evaluation."""

    def make() -> tuple[LossFn, Look]:
        keys = torch.zeros(SMALL // 4 + 32, 4)
        bank = keys.numpy().copy()

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            nonlocal keys
            held = torch.from_numpy(bank[:64].copy()) if how == "array" else keys[:64].clone()
            found = plain(model, batch) * (1 + 0.1 * held.mean().to(batch[0].dtype))
            fresh = batch[0].detach().to(keys.dtype)
            if how == "bound anew":
                keys = torch.cat([fresh, keys[: -len(fresh)]])
            elif how == "array":
                bank[: len(fresh)] += 0.1 * fresh.numpy()
            else:
                keys[: len(fresh)] += 0.1 * fresh
            return found

        return loss, lambda: (keys[:64].tolist(), bank[:64].tolist())

    return make


def bound_anew(state: Any, outputs: Tensor) -> None:
    state.mean = 0.9 * state.mean + 0.1 * outputs.detach().mean(0)


def in_place(state: Any, outputs: Tensor) -> None:
    state.mean.mul_(0.9).add_(outputs.detach().mean(0), alpha=0.1)


def by_a_method(state: Any, outputs: Tensor) -> None:
    state.update(outputs)


def state_in(
    kind: Callable[[], Any], tell: Callable[[Any, Tensor], None]
) -> Callable[[], tuple[LossFn, Look]]:
    """A counter, a running mean and a generator in an object that the loss merely names."""

    def make() -> tuple[LossFn, Look]:
        state = kind()

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            outputs = model(batch[0])
            state.calls += 1
            tell(state, outputs)
            noise = torch.randn(3, generator=state.stream)
            return F.cross_entropy(outputs - state.mean + 0.01 * min(state.calls, 20) * noise, batch[1])

        return loss, lambda: (state.calls, state.mean.tolist(), state.stream.get_state().tolist())

    return make


@dataclass
class Kept:
    calls: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(3))
    stream: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def update(self, outputs: Tensor) -> None:
        self.mean = 0.9 * self.mean + 0.1 * outputs.detach().mean(0)


@dataclass(slots=True)
class Slotted(Kept):
    calls: int = 0


def namespace() -> SimpleNamespace:
    return SimpleNamespace(**vars(Kept()))


def of_a_class() -> type:
    return type("State", (), vars(Kept()))


def of_the_models_helper() -> tuple[LossFn, Look]:
    """Which is no module, and is told by a method that ``forward`` calls."""

    class Measured(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.kept = network(), Kept()

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.net(x)
            self.tell(outputs)
            return outputs - self.kept.mean

        def tell(self, outputs: Tensor) -> None:
            self.kept.calls += 1
            self.kept.update(outputs)

    watcher = Measured()
    return (
        lambda model, batch: (
            plain(model, batch) + 0 * watcher(batch[0]).sum() + watcher.kept.mean.sum() * plain(model, batch)
        ),
        lambda: (watcher.kept.calls, watcher.kept.mean.tolist()),
    )


CASES: dict[str, Callable[[], tuple[LossFn, Look]]] = {
    "namespace in place": state_in(namespace, in_place), "namespace": state_in(namespace, bound_anew),
    "dataclass": state_in(Kept, bound_anew), "its method": state_in(Kept, by_a_method),
    "class in place": state_in(of_a_class, in_place), "class": state_in(of_a_class, bound_anew),
    "slots": state_in(Slotted, bound_anew), "slots in place": state_in(Slotted, in_place),
    "helper of a module": of_the_models_helper,
    
    "object": counting_object, "method": counting_trainer, "nonlocal": nonlocal_counter, "global": global_counter,
    "tensor": running_tensor, "tensor in place": written(lambda mean: mean, None),
    "tensor in a dict": written(lambda mean: {"mean": mean}, "mean"), "tensor in a list": written(lambda mean: [mean], 0),
    "queue in place": queue("in place"), "queue bound anew": queue("bound anew"), "bank": queue("array"),
    "array": an_array, "deque and Counter": a_history, "generators": own_generators,
}  # fmt: skip


def data(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(32, 4, generator=generator), torch.randint(0, 3, (32,), generator=generator)


def trained(make: Callable[[], tuple[LossFn, Look]], probed: bool) -> tuple[Tensor, Any]:
    torch.manual_seed(0)
    model, (loss_fn, look) = network(), make()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    probe = Probe(model, optimizer, loss_fn, name="variables", budget=1.0) if probed else None
    for step in range(60):
        optimizer.zero_grad()
        loss = loss_fn(model, data(step % 3))
        torch.autograd.backward(loss)
        optimizer.step()
        if probe is not None:
            probe.step(loss, data(step % 3))
    if probe is not None:
        probe.close()
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()]), look()


@pytest.mark.parametrize("name", CASES)
def test_what_a_loss_keeps_is_the_loops(name: str, tmp_path: Path) -> None:
    """Not one call is counted that was not the loop's, and the weights are the same to the last bit."""
    (weights, kept), (with_probe, then) = trained(CASES[name], False), trained(CASES[name], True)
    assert torch.equal(weights, with_probe)
    assert repr(then) == repr(kept)
    assert of(recorded(tmp_path), Curvature)


class Tempered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.temperature = network(), 1.0

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.net(x)
        return outputs / self.temperature


Going = Iterator[tuple[nn.Module, LossFn, LossFn]]
"""A model, its loss, and that loss with the numbers of now, for later."""


def by_the_model() -> Going:
    model = Tempered()
    while True:
        yield model, plain, plain
        model.temperature *= 0.97


def weighted(weight: float, model: Any, batch: Batch) -> Tensor:
    return plain(model, batch) + weight * penalty(model)


def by_the_loop() -> Going:
    """A weight in a closure, as in a function ``main``."""
    model, weight = network(), 0

    def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
        return weighted(weight, model, batch)

    while True:
        yield model, loss_fn, partial(weighted, weight)
        weight += 0.05  # type: ignore[assignment]  # as of many a loop


def by_a_setting() -> Going:
    """A weight in an object of settings that is merely named, whose numbers are its own affair."""
    model, settings = network(), SimpleNamespace(weight=0.1)

    def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
        return weighted(settings.weight, model, batch)

    while True:
        yield model, loss_fn, partial(weighted, settings.weight)
        settings.weight += 0.05


def no_double_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsmon.probe.operators.ladder.exact_product", lambda hessian: iter([hessian.refuse]))


@pytest.mark.parametrize(
    ("make", "rung"),
    [(by_the_model, 1), (by_the_model, 2), (by_the_loop, 1), (by_the_loop, 2), (by_a_setting, 1)],
)
def test_curvature_is_that_of_the_step_while_a_number_is_annealed(
    make: Callable[[], Going],
    rung: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Double backward is not taken for wrong by a number that moved between two products, and differences are of one
    loss: every value is an eigenvalue of the dense matrix of its step, within its residual."""
    if rung == 2:
        no_double_backward(monkeypatch)
    frames = annealed(make, tmp_path)
    assert frames and all(("exact" if rung == 1 else "difference") in frame.method for frame in frames)
    if make is by_a_setting:
        assert any("from step to step" in note for note in frames[-1].notes)


def test_differences_of_a_loss_that_moves_out_of_reach_are_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_double_backward(monkeypatch)
    assert not annealed(by_a_setting, tmp_path)
    words = [frame.notes.get("curvature", "") for frame in of(recorded(tmp_path), Heartbeat)]
    assert "loss_fn reads something that changes from step to step" in words[-1]


def annealed(make: Callable[[], Going], tmp_path: Path) -> list[Curvature]:
    """What is told of 90 steps, each value against the dense matrix of its step."""
    torch.manual_seed(0)
    going = make()
    model, loss_fn, now = next(going)
    optimizer, batch = torch.optim.SGD(model.parameters(), 0.05), data()
    places, sensors = {}, [CurvatureSensor()]
    with Probe(
        model, optimizer, loss_fn, name="annealed", budget=1.0, reference=batch, sensors=sensors
    ) as probe:
        for step in range(1, 91):
            optimizer.zero_grad()
            loss = loss_fn(model, batch)
            torch.autograd.backward(loss)
            optimizer.step()
            places[step] = copy.deepcopy(model).double(), now
            probe.step(loss, batch)
            _, _, now = next(going)
    frames: list[Curvature] = of(recorded(tmp_path), Curvature)
    for frame in frames:
        then, loss_then = places[frame.step]
        values = torch.linalg.eigvalsh(dense(then, loss_then, (batch[0].double(), batch[1])))  # type: ignore[arg-type]
        for ritz in (*frame.top, *frame.bottom):
            assert float((values - ritz.value).abs().min()) <= ritz.residual + 1e-6
    return frames


def test_what_was_only_read_before_is_put_back_from_its_first_write_on() -> None:
    """Copied for one evaluation, a dataset is not copied again; where it is written to after all, that is said."""
    shelf = {"data": torch.zeros(SMALL + 1)}
    data, place = shelf["data"], Place(shelf, "data")

    def evaluated(write: bool) -> bool:
        with Variables([place], []).as_then():
            lent = shelf["data"]
            if write:
                lent[0] += 1
        assert shelf["data"] is data
        return lent is data

    assert [evaluated(False), evaluated(False)] == [False, True]
    with pytest.raises(Overwritten, match="65 537 numbers that it had only read before"):
        evaluated(True)
    assert data[0] == 1 and not evaluated(True) and data[0] == 1


def test_numbers_of_an_object_that_is_merely_named_are_its_own() -> None:
    """A loader with a thread counts on; so does a flag that a signal handler raises."""

    class Loader:
        def __init__(self) -> None:
            self.at = 7

    class Task:
        def __init__(self) -> None:
            self.loader, self.stop, self.calls = Loader(), False, 0

        def loss(self, model: nn.Module, batch: Batch) -> Tensor:
            self.calls += self.loader.at
            self.stop = self.stop or self.calls > 1_000_000
            return plain(model, batch)

    task = Task()
    found = reach(network(), task.loss)
    with Variables(found.places, found.generators, found.doubtful, found.bound).as_then():
        task.loader.at, task.stop, task.calls = 8, True, 5
    assert (task.loader.at, task.stop, task.calls) == (8, True, 0)
