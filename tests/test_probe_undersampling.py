"""How far the sharpness of a few examples is above that of all of them, from some of them."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lsmon.probe.algorithms.lanczos import lanczos
from lsmon.probe.measurement import at_once
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.quotient import rayleigh_quotient
from lsmon.probe.reference import Reference
from lsmon.probe.sensors.known import Known
from lsmon.probe.sensors.undersampling import compare_halves, overshoot
from tests.landscape import classes, cross_entropy, dense_hessian, perceptron
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


def test_how_far_the_sharpness_of_a_part_is_above_that_of_all() -> None:
    """vᵀHv of all over λ_1 of the part, by dense matrices: below λ_1 of all over λ_1 of the part, and told as its inverse."""
    model, batch = perceptron(), classes(40)
    whole, known = Reference(batch), Known()
    part = whole.first(8)
    values, vectors = torch.linalg.eigh(dense_hessian(model, cross_entropy, part.batches[0]))
    truth = dense_hessian(model, cross_entropy, batch)
    top, value = vectors[:, -1], float(values[-1])
    point = Hessian(model, cross_entropy, part)
    at_once(overshoot(known, (3 * top.float(), point, value), part, whole))
    level = float(top @ truth @ top) / value
    assert known.level == pytest.approx(level, rel=1e-4) and 0.1 < level < 0.9
    assert level <= float(torch.linalg.eigvalsh(truth)[-1]) / value
    assert known.excess == f"8 of 40 examples: λ_max at most {1 / level - 1:.0%} too high"
    at_once(
        overshoot(known, (vectors[:, 0].float(), point, value), part, whole)
    )  # along which all curve downwards
    assert known.level == 0.0 and known.excess.endswith("the level of λ_max is theirs alone")


def test_by_some_of_the_chunks_the_level_is_a_lower_bound() -> None:
    """Two errors below what they say: at most that of all the chunks, nine times in ten, and not far below."""
    below, levels, truths = 0, [], []
    for seed in range(10):
        model, batch, known = perceptron(seed), classes(400, seed=seed), Known()
        whole = Reference(batch)
        part = whole.first(8)
        values, vectors = torch.linalg.eigh(dense_hessian(model, cross_entropy, part.batches[0]))
        point, top = Hessian(model, cross_entropy, part), vectors[:, -1]
        at_once(overshoot(known, (top.float(), point, float(values[-1])), part, whole))
        truths.append(float(top @ dense_hessian(model, cross_entropy, batch) @ top) / float(values[-1]))
        levels.append(known.level)
        below += known.level <= truths[-1] * (1 + 1e-4)
    assert below >= 9 and 0.6 * sum(truths) < sum(levels) < 0.97 * sum(truths)


def test_a_sharpness_of_nothing_is_compared_with_nothing() -> None:
    """A hinge loss with a margin everywhere has no curvature at all, and zero is no part of zero."""
    model, batch = perceptron(), classes(40)
    whole, known = Reference(batch), Known()
    part = whole.first(8)
    point = Hessian(model, lambda m, b: (m(b[0]).sum() - 1e3).clamp_min(0.0), part)
    known.take_over(at_once(lanczos(point, top=1, bottom=0)))
    known.point = point
    assert known.sharpness == 0.0
    assert known.begin_overshoot(part, whole) is None


def test_too_few_examples_are_told_by_their_halves() -> None:
    """The mean λ_1 of two halves over λ_1 of both, less one, by dense matrices."""
    model, batch = perceptron(), classes(16)
    halves = Reference(batch).halves()
    assert halves is not None
    sharpest = [
        float(torch.linalg.eigvalsh(dense_hessian(model, cross_entropy, b))[-1])
        for b in (batch, halves[0].batches[0], halves[1].batches[0])
    ]
    known = Known(
        sharpness=sharpest[0],
        halves=(Hessian(model, cross_entropy, halves[0]), Hessian(model, cross_entropy, halves[1])),
    )
    at_once(compare_halves(known, 0, 1 << 20))
    assert (
        known.undersampled == known.fresh == pytest.approx(sum(sharpest[1:]) / 2 / sharpest[0] - 1, rel=0.05)
    )
    assert known.undersampled is not None and known.undersampled > 0.05 and not known.halves
