"""A loss scale that a fused optimizer takes off itself is none of the gradients' size."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe import Probe
from lsmon.probe.sensors.scale import Scale
from lsmon.probe.unscaled import unscaled
from lsmon.protocol.frames import Alert, Scalars
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.test_probe_oath import of, own_folders, recorded

__all__ = ["own_folders"]  # a fixture, used by name


def trained(fused: bool, probed: bool, overflow: int = -1) -> list[Tensor]:
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)), torch.randn(16, 4)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    sensors = [Scale(seconds=0.0)]
    probe = Probe(model, optimizer, name="scaled", budget=1.0, clip=1.0, sensors=sensors) if probed else None
    for step in range(40):
        optimizer.zero_grad()
        loss = model(data).square().mean() * (math.inf if step == overflow else 1.0)
        torch.autograd.backward(scaler.scale(loss))
        scaler.step(optimizer)
        scaler.update()
        if probe is not None:
            probe.step(None if step == overflow else loss, data)
    if probe is not None:
        probe.close()
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("overflow", [-1, 20])
def test_gradients_have_the_size_that_the_optimizer_consumes(overflow: int, tmp_path: Path) -> None:
    """As with an optimizer for which the scaler unscales them, and the training is the same to the last bit. A step that
    is skipped for an infinity is no value that is not finite."""
    norms = []
    for fused in (False, True):
        plain, probed = trained(fused, False, overflow), trained(fused, True, overflow)
        assert all(torch.equal(a, b) for a, b in zip(plain, probed, strict=True))
        frames = recorded(tmp_path)
        assert not [alert for alert in of(frames, Alert) if alert.kind in ("nonfinite", "probe_fault")]
        values = {one.step: one.values for one in of(frames, Scalars) if "grad/norm" in one.values}
        norms.append({step: each["grad/norm"] for step, each in values.items()})
        assert all(each["clip/rate"] == 0.0 for each in values.values())
    common = norms[0].keys() & norms[1].keys() - {overflow + 1}
    assert len(common) >= 30
    for step in common:
        assert norms[1][step] == pytest.approx(norms[0][step], rel=1e-4)


def test_the_gradients_are_the_very_tensors_again() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    torch.autograd.backward(model(torch.ones(1, 2)).sum())
    held = [parameter.grad for parameter in model.parameters()]
    setattr(optimizer, "grad_scale", torch.full((1,), 4.0))  # noqa: B010
    with pytest.raises(ZeroDivisionError), unscaled(optimizer):
        assert model.bias.grad is not None and float(model.bias.grad) == 0.25
        raise ZeroDivisionError
    assert all(p.grad is before for p, before in zip(model.parameters(), held, strict=True))
