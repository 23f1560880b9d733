"""Exact inertia of small operators."""

from __future__ import annotations

import pytest
import torch

from lsmon.probe.algorithms.inertia import inertia, inertia_of
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.spectra import (
    Known,
    finish,
    spread,
)

SPECTRUM = [*spread(-2.0, -0.1, 30), *[0.0] * 50, 1e-5, *spread(0.1, 3.0, 40)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counts_are_exact(dtype: torch.dtype) -> None:
    """From d products, in either precision, at every tolerance from 1e-6 on."""
    operator = Known(SPECTRUM, dtype)
    found = finish(inertia(operator))
    assert operator.products == len(SPECTRUM)
    assert found.counts() == (30, 50, 41)
    assert found.counts(1e-2) == (30, 51, 40)
    assert sum(found.counts(0.5)) == len(SPECTRUM)
    assert torch.allclose(found.values, operator.values, atol=1e-5)
    assert found.asymmetry < 1e-5


def test_a_matrix_will_do() -> None:
    """Without any operator; asymmetry is averaged away and told."""
    matrix = Known(SPECTRUM).matrix()
    matrix[0, 1] += 1e-4
    found = inertia_of(matrix)
    assert found.counts(1e-3) == (30, 51, 40)
    assert found.asymmetry == pytest.approx(1e-4)


def test_what_cannot_be_factored_is_refused() -> None:
    """More dimensions than 1500 products, and numbers that are not finite."""
    with pytest.raises(ValueError, match="takes 1501 products"):
        finish(inertia(Known([1.0] * 1501)))
    with pytest.raises(ValueError, match="not finite"):
        inertia_of(torch.full((2, 2), torch.nan))
