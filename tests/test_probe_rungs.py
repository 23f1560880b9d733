"""Which way to the curvature a run takes while its loss fails now and then."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe.reference import Reference
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.probe.sensors.rungs import SOON
from lsmon.probe.sensors.sensor import Context
from lsmon.protocol.frames import Curvature
from tests.landscape import classes, cross_entropy, perceptron
from tests.one_thread import one_thread  # noqa: F401 (autouse)


class Flaky:
    """Raises at its first evaluations, of which an iterator keeps the number."""

    def __init__(self, fails: float) -> None:
        self.calls, self.fails = count(1), fails

    def __call__(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        if next(self.calls) <= self.fails:
            raise RuntimeError("a worker died")
        return cross_entropy(model, batch)


def watch(loss_fn: Flaky, steps: int) -> tuple[list[Curvature], Context]:
    torch.manual_seed(0)
    sensor, found = CurvatureSensor(), []
    context = Context(perceptron(), None, loss_fn, reference=Reference(classes()), allowance=1.0, saved=1e9)
    for context.step in range(1, steps + 1):
        told: Any = sensor.measure(context)
        found += [one for one in told if isinstance(one, Curvature)]
        sensor.took(1e-6)
    return found, context


@pytest.mark.parametrize("fails", [5, 6])
def test_a_loss_that_failed_before_anything_was_measured_is_tried_once_more(fails: int) -> None:
    """A worker that dies in the first steps ended curvature for the whole run, or left forward passes alone."""
    _, context = watch(Flaky(fails), SOON)
    words = "a worker died" if fails == 6 else "forward only"
    assert words in context.notes["curvature"]
    found, context = watch(Flaky(fails), 120)
    assert found and "double backward" in found[-1].method and "curvature" not in context.notes


def test_a_loss_that_always_fails_is_off_after_that() -> None:
    with pytest.raises(ValueError, match="a worker died"):
        watch(Flaky(float("inf")), 3 * SOON)
