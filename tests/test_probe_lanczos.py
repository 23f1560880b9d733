"""Lanczos against spectra that are known: values, signs, residual bounds, and a count that never says too much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lsmon.probe.algorithms.lanczos import Extremes, extremes, lanczos


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors and a shared machine: threads would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Dense:
    """A matrix with a chosen spectrum in a random basis."""

    matrix: Tensor
    products: int = 0

    @classmethod
    def with_spectrum(cls, values: list[float], dtype: torch.dtype = torch.float64) -> Dense:
        generator = torch.Generator().manual_seed(1)
        basis, _ = torch.linalg.qr(
            torch.randn(len(values), len(values), dtype=torch.float64, generator=generator)
        )
        matrix = basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T
        return cls(((matrix + matrix.T) / 2).to(dtype))

    @property
    def dim(self) -> int:
        return len(self.matrix)

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    def matvec(self, vector: Tensor) -> Tensor:
        self.products += 1
        return self.matrix @ vector


def solve(operator: Dense, steps: int = 32, seed: int = 0) -> Extremes:
    work = lanczos(operator, steps, seed)
    while True:
        try:
            next(work)
        except StopIteration as done:
            return extremes(done.value, operator.dtype)


def spread(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * i / (count - 1) for i in range(count)]


SPECTRA = {
    "negative end larger": [-5.0, *spread(-0.5, 0.5, 97), 2.0, 3.0],
    "clustered": [10.0 + 1e-9 * i for i in range(5)] + [1.0] * 40 + [-2.0] * 5,
    "nine in ten are zero": [0.0] * 90 + [4.0, 2.0, 1.0, 0.5, 0.1, -0.1, -0.2, -1.0, -3.0, 8.0],
    "rank one": [7.0] + [0.0] * 49,
    "negative definite": spread(-9.0, -1.0, 60),
    "one dimension": [-2.5],
    "two dimensions": [1.0, -1.0],
}


@pytest.mark.parametrize("name", SPECTRA)
def test_both_ends_have_the_right_value_and_sign(name: str) -> None:
    """The largest and the smallest eigenvalue come out signed and to 1e-8 of |H|."""
    spectrum = sorted(SPECTRA[name])
    found = solve(Dense.with_spectrum(spectrum))
    size = max(abs(spectrum[0]), abs(spectrum[-1]))
    assert found.top[0].value == pytest.approx(spectrum[-1], abs=1e-8 * size)
    assert found.bottom[0].value == pytest.approx(spectrum[0], abs=1e-8 * size)
    assert found.top[0].converged


def test_order_of_the_ends() -> None:
    """The top descends from the largest, the bottom ascends from the most negative; never sorted by magnitude."""
    found = solve(Dense.with_spectrum(SPECTRA["negative end larger"]))
    assert [ritz.value for ritz in found.top] == sorted((ritz.value for ritz in found.top), reverse=True)
    assert [ritz.value for ritz in found.bottom] == sorted(ritz.value for ritz in found.bottom)
    assert found.top[1].value == pytest.approx(2.0, abs=1e-6)


def test_an_invariant_space_ends_the_iteration() -> None:
    """Rank one plus zeros spans two dimensions: beyond a product or two for rounding nothing is spent."""
    operator = Dense.with_spectrum(SPECTRA["rank one"])
    found = solve(operator)
    assert operator.products == found.hvps <= 3
    assert found.negative_at_least == 0


def test_exact_count_when_the_space_is_large_enough() -> None:
    """With as many products as distinct eigenvalues the certified count is the number of negative ones."""
    found = solve(Dense.with_spectrum(SPECTRA["nine in ten are zero"]))
    assert found.negative_at_least == 4


def test_zero_matrix_has_no_negative_direction() -> None:
    """H = 0 (a linear loss) gives zeros and no count, without a division by zero."""
    found = solve(Dense(torch.zeros(20, 20)))
    assert (found.top[0].value, found.bottom[0].value, found.negative_at_least) == (0.0, 0.0, 0)


def test_one_product_per_next() -> None:
    """The schedule can spread the products over training steps."""
    operator = Dense.with_spectrum(SPECTRA["negative definite"])
    work = lanczos(operator, 5)
    for products in range(1, 6):
        next(work)
        assert operator.products == products
    with pytest.raises(StopIteration):
        next(work)


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_stream() -> None:
    """The start vector comes from a generator of its own."""
    before = torch.get_rng_state()
    one, two = (solve(Dense.with_spectrum(SPECTRA["negative end larger"])) for _ in range(2))
    assert one == two
    assert torch.equal(before, torch.get_rng_state())


def test_single_precision_keeps_the_basis_orthogonal() -> None:
    """In float32 a spectrum with a huge outlier shows no ghost copy of it among the top values."""
    found = solve(Dense.with_spectrum([1e4, *spread(-1.0, 1.0, 199)], torch.float32), steps=64)
    assert found.top[0].value == pytest.approx(1e4, rel=1e-5)
    assert found.top[1].value < 2.0
    assert 0 < found.noise < 1e-5 * 1e4


def test_a_nan_is_refused() -> None:
    """A product that is not finite gives words, not numbers."""
    with pytest.raises(ValueError, match="not finite"):
        solve(Dense(torch.full((4, 4), torch.nan)))


spectra = st.lists(
    st.one_of(
        st.just(0.0), st.floats(-10, 10, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-3)
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(spectrum=spectra, steps=st.integers(1, 24), seed=st.integers(0, 3))
def test_the_certificate_never_exceeds_the_truth(spectrum: list[float], steps: int, seed: int) -> None:
    """ "At least k" is true for every spectrum, every length of the run and every start."""
    found = solve(Dense.with_spectrum(spectrum), steps, seed)
    assert found.negative_at_least <= sum(value < -found.tolerance / 2 for value in spectrum)
    size = max(map(abs, spectrum)) + 1e-12
    for ritz in (*found.top, *found.bottom):
        # an eigenvalue lies within the residual; 1e-9 |H| is the rounding of the products
        assert min(abs(value - ritz.value) for value in spectrum) <= ritz.residual + 1e-9 * size
    assert found.bottom[0].value >= min(spectrum) - 1e-9 * size
    assert found.top[0].value <= max(spectrum) + 1e-9 * size
