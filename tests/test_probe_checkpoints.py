"""Activation checkpointing, both kinds of it: the curvature is that of the model, and the training its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from lsmon.probe import Probe, measure
from lsmon.protocol.frames import Curvature
from tests.landscape import classes, cross_entropy, dense_hessian, perceptron, same
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.test_probe_oath import of, own_folders, recorded

__all__ = ["own_folders"]  # a fixture, used by name


class Nested(nn.Module):
    """A checkpoint in a checkpoint, with dropout; none without ``reentrant``."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.first, self.net, self.drop = nn.Linear(4, 4), perceptron(), nn.Dropout(0.2)
        self.reentrant = reentrant

    def inner(self, x: Tensor) -> Tensor:
        if self.reentrant is None:
            return torch.tanh(self.drop(self.net(x)))
        sequential: Any = checkpoint_sequential
        return torch.tanh(self.drop(sequential(self.net, 2, x, use_reentrant=self.reentrant)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.reentrant is None:
            return self.inner(x)
        out: Tensor = checkpoint(self.inner, x, use_reentrant=self.reentrant)
        return out


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_models_have_their_curvature(reentrant: bool) -> None:
    torch.manual_seed(0)
    model, batch = Nested(reentrant), classes()
    twin = Nested(None)
    twin.load_state_dict(model.state_dict())
    found = measure(model, cross_entropy, batch, probes=0)
    assert "double backward" in found.method and not any("not checked" in note for note in found.notes)
    values = torch.linalg.eigvalsh(dense_hessian(twin, cross_entropy, batch))
    assert float((values - found.top[0].value).abs().min()) <= found.top[0].residual + 1e-5
    assert found.top[0].value == pytest.approx(float(values[-1]), rel=1e-3)


def test_a_training_with_reentrant_checkpoints_is_the_same(tmp_path: Path) -> None:
    ends: list[Any] = []
    for probed in (False, True):
        torch.manual_seed(0)
        model, batch = Nested(True), classes()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        probe = (
            Probe(model, optimizer, cross_entropy, name="again", budget=1.0, sensors="full")
            if probed
            else None
        )
        for _ in range(60):
            optimizer.zero_grad()
            loss = cross_entropy(model, batch)
            torch.autograd.backward(loss)
            optimizer.step()
            if probe is not None:
                probe.step(loss, batch)
        if probe is not None:
            probe.close()
            assert of(recorded(tmp_path), Curvature)
        ends.append((model.state_dict(), torch.get_rng_state()))
    assert same(*ends)
