"""A loop that goes on with another optimizer than the one it gave is told so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lsmon.probe import Probe
from lsmon.probe.sensors.abandoned import Abandoned


@pytest.mark.parametrize("loop", ["its own", "another", "none", "every third step", "another for a while"])
def test_an_optimizer_that_steps_no_more_is_told_of_while_the_weights_change(loop: str) -> None:
    model = torch.nn.Linear(3, 1)
    given, other = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    steps: dict[str, Callable[[int], torch.optim.Optimizer | None]] = {
        "its own": lambda step: given,
        "another": lambda step: given if step < 100 else other,
        "none": lambda step: None,
        "every third step": lambda step: None if step % 3 else given,
        "another for a while": lambda step: other if 100 <= step < 300 else given,
    }
    told = set()
    with Probe(model, given, record=False, sensors=[Abandoned()]) as probe:
        for step in range(600):
            model(torch.ones(2, 3)).square().mean().backward()
            if optimizer := steps[loop](step):
                optimizer.step()
            probe.step(0.0)
            if "optimizer" in probe._guard.notes:
                told.add(step)
    if loop in ("another", "another for a while"):
        assert 100 < min(told) <= 200
        assert max(told) == 599 if loop == "another" else max(told) <= 400
    else:
        assert not told
