"""How far the sharpness of a few examples is above that of all of them, from some of them."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

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


def test_an_error_of_eight_chunks_knows_how_few_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1000 sets of 64 chunks that scatter by a third, the mean of all lies within two errors in 925 at least."""
    monkeypatch.setattr("lsmon.probe.quotient._product", lambda part, vector: part.batches[0] * vector)
    point: Any = SimpleNamespace(snapshot=SimpleNamespace())
    stream, inside, told = random.Random(0), 0, []
    for _ in range(1000):
        values = [stream.gauss(1.0, 0.3) for _ in range(64)]
        chunks: Any = [SimpleNamespace(batches=[value], sizes=[1]) for value in values]
        truth = sum(values) / 64
        early: list[bool] = []

        def tell(mean: float, error: float, truth: float = truth, early: list[bool] = early) -> None:
            early.append(abs(mean - truth) <= 2 * error)

        work: Any = rayleigh_quotient(point, chunks, torch.ones(1, dtype=torch.float64), tell)
        value, error = at_once(work)
        inside += abs(value - truth) <= 2 * error + 1e-9
        told += early[:1]
    assert inside >= 925
    assert len(told) > 200 and sum(told) >= 0.925 * len(told)  # what is said while it goes on, too
