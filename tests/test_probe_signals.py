"""What a signal handler raises is the loop's, whatever the probe was doing."""

from __future__ import annotations

import functools
import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe import Probe
from lsmon.probe.measuring import measuring
from lsmon.protocol.frames import Alert, Curvature
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.test_probe_oath import of, own_folders, recorded

__all__ = ["own_folders"]  # a fixture, used by name


class Preempted(Exception):
    """As of a time limit, and no ``KeyboardInterrupt``."""


def function(number: int, frame: Any) -> None:
    raise Preempted


class Handler:
    def method(self, number: int, frame: Any) -> None:
        raise Preempted

    def __call__(self, number: int, frame: Any) -> None:
        raise Preempted


HANDLERS: dict[str, Callable[[int, Any], Any]] = {
    "function": function, "method": Handler().method, "object": Handler(), "partial": functools.partial(function),
}  # fmt: skip


@pytest.fixture
def handled(request: pytest.FixtureRequest) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, HANDLERS[request.param])
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("handled", "evaluation"),
    [*((name, 12) for name in HANDLERS), *(("function", evaluation) for evaluation in (1, 3, 14, 20))],
    indirect=["handled"],
)
def test_it_comes_out_of_the_probe(handled: None, evaluation: int, tmp_path: Path) -> None:
    """In the choice of a way, in a snapshot, wherever it comes; and a loop that goes on has its curvature."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    optimizer, data = torch.optim.SGD(model.parameters(), 0.05), torch.randn(16, 4)
    evaluations, caught = itertools.count(1), 0  # not a number, which would be put back

    def loss_fn(model: nn.Module, batch: Tensor) -> Tensor:
        if measuring() and next(evaluations) == evaluation:
            signal.raise_signal(signal.SIGUSR1)
        loss: Tensor = model(batch).square().mean()
        return loss

    with Probe(model, optimizer, loss_fn, name="preempted", budget=1.0, reference=data) as probe:
        for _ in range(150):
            optimizer.zero_grad()
            loss = loss_fn(model, data)
            torch.autograd.backward(loss)
            optimizer.step()
            try:
                probe.step(loss, data)
            except Preempted:
                caught += 1
    frames = recorded(tmp_path)
    assert caught == 1
    assert not [alert for alert in of(frames, Alert) if alert.kind == "probe_fault"]
    assert any(frame.bottom and "exact" in frame.method for frame in of(frames, Curvature))


def test_gradients_are_on_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised while a context is left, it leaves nothing behind that the loop's next backward pass would feel."""
    model = nn.Linear(4, 3)
    optimizer, data = torch.optim.SGD(model.parameters(), 0.05), torch.randn(16, 4)

    def interrupted(*_: Any) -> None:
        torch.set_grad_enabled(False)
        raise KeyboardInterrupt

    with Probe(model, optimizer, lambda m, b: m(b).square().mean(), name="interrupted") as probe:
        monkeypatch.setattr(probe._instruments, "step", interrupted)
        for _ in range(3):
            optimizer.zero_grad()
            loss = model(data).square().mean()
            torch.autograd.backward(loss)
            with pytest.raises(KeyboardInterrupt):
                probe.step(loss, data)
            assert torch.is_grad_enabled()
        monkeypatch.undo()


@pytest.mark.parametrize("handled", ["function"], indirect=True)
def test_it_comes_out_of_what_is_logged(handled: None, tmp_path: Path) -> None:
    """While a number is waited for, as of an array on a device of another framework, and while a step is."""

    class Waited:
        size = 1

        def item(self) -> float:
            signal.raise_signal(signal.SIGUSR1)
            return 1.0

        def __int__(self) -> int:
            return int(self.item())

    with Probe(name="preempted", record=False) as probe:
        with pytest.raises(Preempted):
            probe.step(Waited())
        with pytest.raises(Preempted):
            probe.log(step=Waited(), loss=1.0)
        assert "value loss" not in probe._guard.notes and "step=" not in probe._guard.notes
