"""Null models against closed forms and against random matrices."""

from __future__ import annotations

import math

import pytest
import torch

from lsmon.probe.algorithms.nulls import bulk_kurtosis
from lsmon.protocol.nulls import (
    SEMICIRCLE_KURTOSIS,
    log10_minimum_by_repulsion,
    log10_minimum_by_signs,
    semicircle,
)
from tests.one_thread import one_thread  # noqa: F401 (autouse)


def test_independent_signs() -> None:
    """Half of ten signs negative: one minimum in 2^10; a certain negative: none."""
    assert log10_minimum_by_signs(0.5, 10) == pytest.approx(-10 * math.log10(2))
    assert log10_minimum_by_signs(0.0, 1000) == 0.0
    assert log10_minimum_by_signs(1.0, 3) == -math.inf
    with pytest.raises(ValueError, match="between 0 and 1"):
        log10_minimum_by_signs(1.5, 3)


def test_repulsion_is_far_rarer() -> None:
    """-0.1193 d²: at d = 1210 one in 10^175 000, against 10^-364 for signs drawn by themselves."""
    assert log10_minimum_by_repulsion(1210) == pytest.approx(-0.1193 * 1210**2, rel=1e-3)
    assert log10_minimum_by_repulsion(1210) < 100 * log10_minimum_by_signs(0.5, 1210)


def test_a_random_symmetric_matrix_has_the_semicircle_kurtosis() -> None:
    """And outliers do not change that; a spike with tails is far from it."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(600, 600, dtype=torch.float64, generator=generator)
    values = torch.linalg.eigvalsh(matrix + matrix.T)
    assert bulk_kurtosis(values, 0) == pytest.approx(SEMICIRCLE_KURTOSIS, abs=0.05)
    with_outliers = torch.cat([values, torch.full((20,), 1e4, dtype=torch.float64)])
    assert bulk_kurtosis(with_outliers) == pytest.approx(SEMICIRCLE_KURTOSIS, abs=0.05)
    spike = torch.cat([torch.zeros(900), torch.linspace(-1, 1, 100)])
    assert bulk_kurtosis(spike) > 8


def test_a_kurtosis_needs_a_bulk() -> None:
    """Fewer values than outliers, or equal ones, are refused."""
    for values in (torch.ones(10), torch.ones(100)):
        with pytest.raises(ValueError, match="different eigenvalues"):
            bulk_kurtosis(values)


def test_the_semicircle_of_a_random_symmetric_matrix_is_wigners() -> None:
    """GOE of variance σ² = 1/d a pair: centre 0, radius 2, kurtosis 2, and the shares below are those of its eigenvalues."""
    dim = 800
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(dim, dim, dtype=torch.float64, generator=generator)
    values = torch.linalg.eigvalsh((matrix + matrix.T) / (2 * dim) ** 0.5)
    counts = torch.histc(values, bins=100, min=-2.5, max=2.5)
    grid = [-2.5 + 0.05 * (i + 0.5) for i in range(100)]
    found = semicircle(grid, (counts / dim).tolist(), parameters=0)
    assert found is not None
    assert found.centre == pytest.approx(0.0, abs=0.02)
    assert found.radius == pytest.approx(2.0, rel=0.02)
    assert found.kurtosis == pytest.approx(SEMICIRCLE_KURTOSIS, abs=0.05)
    for at in (-1.5, -0.3, 0.0, 0.8, 1.9):
        assert found.below(at) == pytest.approx(float((values < at).double().mean()), abs=0.01)
    assert (found.below(-9.0), found.below(9.0)) == (0.0, 1.0)


def test_the_semicircle_leaves_out_the_outliers() -> None:
    """Twenty of ten thousand eigenvalues far out move neither its centre nor its radius."""
    grid, mass = [-1.0, 0.0, 1.0, 500.0], [0.3, 0.398, 0.3, 0.002]
    found, bulk = semicircle(grid, mass, 10_000), semicircle(grid[:3], mass[:3], 0)
    assert found is not None and bulk is not None
    assert found == pytest.approx(bulk)


@pytest.mark.parametrize("mass", [[], [1.0], [0.0, 0.0], [math.nan, math.inf], [1.0, 0.0]])
def test_a_density_without_a_bulk_has_no_semicircle(mass: list[float]) -> None:
    assert semicircle([0.0, 1.0], mass, 0) is None
