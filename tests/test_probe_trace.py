"""Trace estimators against sums of known eigenvalues, and the error that few probes admit to."""

from __future__ import annotations

import math

import pytest
import torch

from lsmon.probe.algorithms.estimate import estimate
from lsmon.probe.algorithms.probes import Kind
from lsmon.probe.algorithms.trace import hutch_plus_plus, hutchinson
from tests.spectra import (
    Known,
    finish,
    network,
    one_thread,  # noqa: F401 (autouse)
)


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased_and_knows_its_error(kind: Kind) -> None:
    """Over 60 repetitions the mean is the trace, and 95 % intervals from 8 probes hold it 9 times in 10 at least."""
    operator = Known(network(1000))
    truth = float(operator.values.sum())
    found = [finish(hutchinson(operator, probes=8, seed=seed, kind=kind)) for seed in range(60)]
    mean = sum(each.value for each in found) / 60
    assert abs(mean - truth) <= 3 * sum(each.se for each in found) / 60 / math.sqrt(60)
    assert sum(abs(each.value - truth) <= 2 * each.se for each in found) >= 54


def test_rademacher_is_exact_on_a_diagonal() -> None:
    """One probe is enough where the eigenvectors are coordinates."""

    class Diagonal(Known):
        def _turn(self, vector: torch.Tensor) -> torch.Tensor:
            return vector

    operator = Diagonal(network(300))
    found = finish(hutchinson(operator, probes=2))
    assert found.value == pytest.approx(float(operator.values.sum()))
    assert found.se == pytest.approx(0.0, abs=1e-9)


def test_hutch_plus_plus_beats_hutchinson_where_few_eigenvalues_carry_the_trace() -> None:
    """At 30 products its error is a quarter of Hutchinson's on a decaying spectrum; at low rank it is exact."""
    operator = Known([10 * 0.6**i for i in range(20)] + [-4 * 0.6**i for i in range(20)] + [1e-4] * 960)
    truth = float(operator.values.sum())
    plain = [
        finish(hutchinson(operator, probes=30, seed=seed, kind="gaussian")).value - truth
        for seed in range(20)
    ]
    clever = [
        finish(hutch_plus_plus(operator, products=30, seed=seed, kind="gaussian")).value - truth
        for seed in range(20)
    ]
    assert math.hypot(*clever) < 0.25 * math.hypot(*plain)
    low = Known([0.0] * 990 + [5.0] * 5 + [-1.0] * 5)
    found = finish(hutch_plus_plus(low, products=36))
    assert low.products == 36
    assert found.value == pytest.approx(20.0, abs=1e-9)


def test_hutch_plus_plus_survives_a_rank_smaller_than_its_range() -> None:
    """Dependent images leave an orthonormal basis, not a division by zero; too few products are refused."""
    assert finish(hutch_plus_plus(Known([7.0] + [0.0] * 99), products=12)).value == pytest.approx(7.0)
    assert finish(hutch_plus_plus(Known([0.0] * 20), products=12)).value == 0.0
    assert finish(hutch_plus_plus(Known([3.0, -1.0]), products=12)).value == pytest.approx(2.0)
    with pytest.raises(ValueError, match="at least six"):
        finish(hutch_plus_plus(Known([1.0]), products=5))


@pytest.mark.parametrize("count", [2, 3, 8, 20])
def test_twice_the_error_covers_95_percent(count: int) -> None:
    """However few the samples of a normal distribution are."""
    generator = torch.Generator().manual_seed(count)
    samples = torch.randn(4000, count, dtype=torch.float64, generator=generator)
    found = [estimate(row.tolist()) for row in samples]
    covered = sum(abs(each.value) <= 2 * each.se for each in found) / 4000
    assert covered == pytest.approx(0.95, abs=0.015)


def test_one_sample_admits_that_it_knows_nothing() -> None:
    """Its error is infinite."""
    assert math.isinf(estimate([3.0]).se)
