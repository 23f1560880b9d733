"""How far the sharpness of a few examples is above that of all of them, from some of them."""

from __future__ import annotations

import pytest
import torch

from lsmon.probe.measurement import at_once
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.quotient import rayleigh_quotient
from lsmon.probe.reference import Reference
from tests.landscape import classes, cross_entropy, perceptron
from tests.one_thread import one_thread  # noqa: F401 (autouse)


@pytest.mark.parametrize("wanted", [1, 4, 7, 64])
def test_all_chunks_give_the_curvature_of_the_whole(wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """vᵀHv over chunks of any size, all of them looked at, is that of the whole batch, and without an error."""
    monkeypatch.setattr("lsmon.probe.quotient.NEAR", 0.0)
    model, batch = perceptron(), classes(30)
    point = Hessian(model, cross_entropy, Reference(batch))
    unit = torch.nn.functional.normalize(point.gradient, dim=0)
    value, error = at_once(rayleigh_quotient(point, Reference(batch).chunks(wanted), unit))
    assert value == pytest.approx(float(unit @ point.matvec(unit)), rel=1e-4)
    assert error == 0.0


def test_a_few_chunks_give_it_within_their_error() -> None:
    """It stops at an error of a tenth, with a part of the chunks, and the whole lies within twice that error."""
    model, inside, used = perceptron(), 0, []
    for seed in range(20):
        batch = classes(400, seed=seed)
        point = Hessian(model, cross_entropy, Reference(batch))
        unit = torch.nn.functional.normalize(point.gradient, dim=0)
        work = rayleigh_quotient(point, Reference(batch).chunks(2), unit)
        used.append(0)
        while True:
            try:
                next(work)
                used[-1] += 1
            except StopIteration as done:
                value, error = done.value
                break
        assert 0 < error <= 0.1 * abs(value)
        inside += abs(value - float(unit @ point.matvec(unit))) <= 2 * error
    assert inside >= 17
    assert max(used) < 200
