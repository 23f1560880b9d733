"""TorchScript: modules whose mode is in compiled code, and whose code is compiled for the shapes that it meets first."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsmon.probe import measure
from lsmon.probe.subject import eval_mode
from tests.one_thread import one_thread  # noqa: F401 (autouse)

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


def loss_fn(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return 2 * torch.randn(64, 4) + 1, torch.randint(0, 3, (64,))


def test_a_compiled_module_is_measured_as_its_source() -> None:
    """Without dropout, and with the statistics of the batch; all of it is afterwards in training mode again."""
    batch = data()
    source = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 3))
    compiled: Any = torch.jit.script(source)
    buffers = [buffer.clone() for buffer in compiled.buffers()]
    found = [
        measure(model, loss_fn, batch, probes=0) for model in (source, compiled, nn.Sequential(compiled))
    ]
    for one in found[1:]:
        assert one.top[0].value == pytest.approx(found[0].top[0].value, rel=1e-4)
        assert one.bottom[0].value == pytest.approx(found[0].bottom[0].value, rel=1e-4)
    words = "eval mode: dropout off, BatchNorm by the statistics of each batch"
    assert eval_mode(compiled) == words
    assert all(module.training for module in compiled.modules())
    assert all(map(torch.equal, buffers, compiled.buffers()))
    compiled.eval()
    assert not any(module.training for module in compiled.modules())


def test_its_code_is_compiled_for_the_training() -> None:
    """Not for a measurement before it: after that the first step had other bits."""
    batch = data()

    def trained(measured: bool) -> list[Tensor]:
        class Block(nn.Module):  # a class of its own each time, or its compiled code would be there already
            def __init__(self) -> None:
                super().__init__()
                self.mix = nn.Linear(4, 6)

            def forward(self, x: Tensor) -> Tensor:
                return torch.tanh(self.mix(x))

        torch.manual_seed(1)
        model = nn.Sequential(torch.jit.script(Block()), nn.Linear(6, 3))
        if measured:
            measure(model, loss_fn, (batch[0][:16], batch[1][:16]), probes=0)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(40):
            optimizer.zero_grad()
            torch.autograd.backward(loss_fn(model, batch))
            optimizer.step()
        return [parameter.detach().clone() for parameter in model.parameters()]

    assert all(map(torch.equal, trained(False), trained(True)))
