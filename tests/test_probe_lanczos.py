"""Lanczos against spectra that are known: values, signs, residual bounds, and a count that never says too much."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lsmon.probe.algorithms.basis import DeviceBasis, HostBasis, RecentBasis, norm
from lsmon.probe.algorithms.density import slq
from lsmon.probe.algorithms.ends import ACCURACY, Ends, Extremes
from lsmon.probe.algorithms.krylov import KrylovSpace
from lsmon.probe.algorithms.lanczos import Early, Krylov, lanczos
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.spectra import (
    SPECTRA,
    Known,
    finish,
    network,
    spread,
)

HUNDREDTH = 1e-2
"""What its own stopping rule promises."""


def true_within_bounds(found: Extremes, operator: Known) -> None:
    """Every value has an eigenvalue within its residual, and none lies outside the spectrum."""
    for ritz in (*found.top, *found.bottom):
        assert float((operator.values - ritz.value).abs().min()) <= ritz.residual
    rounding = 1e-6 if operator.dtype == torch.float32 else 1e-12
    size = float(operator.values.abs().max())
    assert found.bottom[0].value >= float(operator.values[0]) - rounding * size
    assert found.top[0].value <= float(operator.values[-1]) + rounding * size


@pytest.mark.parametrize("name", SPECTRA)
def test_both_ends_have_the_right_value_and_sign(name: str) -> None:
    """At convergence both ends come out signed and to 1e-6 relative; what is below 1e-4 |H| counts as zero."""
    operator = Known(SPECTRA[name])
    found = finish(lanczos(operator, top=1, max_products=300, accuracy=1e-7)).extremes
    size = float(operator.values.abs().max())
    for ritz, truth in ((found.top[0], operator.values[-1]), (found.bottom[0], operator.values[0])):
        assert ritz.value == pytest.approx(
            float(truth), rel=1e-6, abs=1e-4 * size if abs(truth) < 1e-4 * size else 0
        )
        assert ritz.converged
    assert found.negative_at_least <= int((operator.values < -found.tolerance).sum())
    true_within_bounds(found, operator)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_own_stopping_rule_gives_a_hundredth(seed: int, dtype: torch.dtype) -> None:
    """Top five and λ_min within 1 %, each error below its residual, long before the products run out."""
    operator = Known(network(seed=seed), dtype)
    krylov = finish(lanczos(operator, top=5, max_products=200, seed=seed))
    found = krylov.extremes
    assert krylov.stopped and operator.products == found.hvps < 60
    truth = operator.values
    for place, ritz in enumerate(found.top, 1):
        assert ritz.value == pytest.approx(float(truth[-place]), rel=HUNDREDTH)
        assert abs(ritz.value - float(truth[-place])) <= ritz.residual
    assert found.bottom[0].value == pytest.approx(float(truth[0]), rel=HUNDREDTH)
    true_within_bounds(found, operator)


def test_the_sharpness_alone_is_cheap() -> None:
    """λ_max of a network-like spectrum takes a fraction of what both ends take."""
    operator = Known(network())
    alone = finish(lanczos(operator, top=1, bottom=0)).extremes
    both = finish(lanczos(operator, top=5, bottom=1)).extremes
    assert alone.top[0].value == pytest.approx(10.0, rel=HUNDREDTH)
    assert alone.hvps <= 12 < both.hvps


def test_the_sharpness_is_told_on_the_way() -> None:
    """Once, after as many products as a search for it alone takes from the same start, and as the same; the rest is as
    without."""
    ends = Ends(1, 0, ACCURACY, 1.0)
    told: list[Krylov] = []
    whole = finish(lanczos(Known(network()), early=Early(ends, told.append)))
    alone, plain = finish(lanczos(Known(network()), top=1, bottom=0)), finish(lanczos(Known(network())))
    assert len(told) == 1 and told[0].vector is not None and alone.vector is not None
    assert told[0].extremes == alone.extremes and torch.equal(told[0].vector, alone.vector)
    assert whole.extremes == plain.extremes and alone.extremes.hvps < plain.extremes.hvps
    told.clear()
    finish(lanczos(Known(SPECTRA["rank one"]), early=Early(ends, told.append)))
    assert not told  # everything is known as soon


def test_a_value_that_has_not_appeared_keeps_it_going() -> None:
    """The residual of the second eigenvalue is small before the first is seen: the chance of that is what is bounded."""
    operator = Known([1.001, *[1.0] * 50, *spread(-0.5, 0.5, 20_000), 1.3])
    fooled = 0
    for seed in range(20):
        found = finish(lanczos(operator, top=1, bottom=0, seed=seed)).extremes
        fooled += found.top[0].value < 1.3 * (1 - HUNDREDTH)
        assert found.above <= 0.2
    assert fooled <= 2


def test_a_start_without_the_largest_direction_is_not_believed() -> None:
    """From a vector with no component along it Lanczos cannot see λ_max; a start always has a random part."""
    operator = Known([*spread(-1.0, 1.0, 400), 5.0, 9.0])
    blind = operator.eigenvector(400)
    found = finish(lanczos(operator, top=1, bottom=0, known=blind)).extremes
    assert found.top[0].value == pytest.approx(9.0, rel=HUNDREDTH)


def test_order_of_the_ends() -> None:
    """The top descends from the largest, the bottom ascends from the most negative; never sorted by magnitude."""
    found = finish(lanczos(Known(SPECTRA["negative end larger"]), top=2, accuracy=1e-7)).extremes
    assert [ritz.value for ritz in found.top] == sorted((ritz.value for ritz in found.top), reverse=True)
    assert [ritz.value for ritz in found.bottom] == sorted(ritz.value for ritz in found.bottom)
    assert found.top[0].value == pytest.approx(3.0)
    assert found.top[1].value == pytest.approx(2.0)
    assert found.bottom[0].value == pytest.approx(-5.0)


def test_an_invariant_space_ends_the_iteration() -> None:
    """Rank one plus zeros spans two dimensions: beyond a product or two for rounding nothing is spent."""
    operator = Known(SPECTRA["rank one"])
    krylov = finish(lanczos(operator))
    assert krylov.stopped
    assert operator.products == krylov.extremes.hvps <= 3
    assert krylov.extremes.negative_at_least == 0


def test_exact_count_when_the_space_is_large_enough() -> None:
    """With as many products as distinct eigenvalues the certified count is the number of negative ones."""
    operator = Known(SPECTRA["nine in ten are zero"])
    found = finish(lanczos(operator, max_products=200, accuracy=0)).extremes
    assert found.negative_at_least == 20


def test_zero_matrix_has_no_negative_direction() -> None:
    """H = 0 (a linear loss) gives zeros and no count, without a division by zero."""
    found = finish(lanczos(Known([0.0] * 20, torch.float32))).extremes
    assert (found.top[0].value, found.bottom[0].value, found.negative_at_least) == (0.0, 0.0, 0)


def test_one_product_per_next() -> None:
    """The schedule can spread the products over training steps."""
    operator = Known(spread(-9.0, -1.0, 60))
    work = lanczos(operator, max_products=5)
    for products in range(1, 6):
        next(work)
        assert operator.products == products
    with pytest.raises(StopIteration):
        next(work)


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_stream() -> None:
    """The start vector comes from a generator of its own."""
    before = torch.get_rng_state()
    one, two = (finish(lanczos(Known(SPECTRA["negative end larger"]))) for _ in range(2))
    assert one.extremes == two.extremes
    assert one.vector is not None and two.vector is not None and torch.equal(one.vector, two.vector)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("rows", [9, 12, 15, 20])
def test_restarts_equal_the_unrestarted_values(rows: int) -> None:
    """With room for few vectors the same values come out, in more products, and the basis never grows beyond it."""
    operator = Known(network())
    whole = finish(lanczos(operator, max_products=400, accuracy=1e-6)).extremes
    small = finish(lanczos(operator, max_products=2000, accuracy=1e-6, max_bytes=rows * 8 * operator.dim))
    found = small.extremes
    assert small.stopped
    assert found.hvps > whole.hvps
    assert found.memory <= rows * 8 * operator.dim < whole.memory
    for ours, theirs in zip((*found.top, found.bottom[0]), (*whole.top, whole.bottom[0]), strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=1e-6)
    assert 1 <= found.negative_at_least <= int((operator.values < -found.tolerance).sum())
    true_within_bounds(found, operator)


def test_a_handful_of_restarts_costs_little() -> None:
    """Room for 15 vectors: at most twice the products of an unbounded basis."""
    operator = Known(network(), torch.float32)
    whole = finish(lanczos(operator, max_products=200)).extremes
    small = finish(lanczos(operator, max_products=200, max_bytes=15 * 4 * operator.dim)).extremes
    assert small.hvps <= 2 * whole.hvps
    assert small.bottom[0].value == pytest.approx(whole.bottom[0].value, rel=HUNDREDTH)


def test_no_room_for_a_basis_is_said() -> None:
    """Fewer than two vectors are refused in words."""
    with pytest.raises(ValueError, match="holds 1 vectors of the operator, and at least 2 are needed"):
        finish(lanczos(Known(network()), max_bytes=8 * 5000))


@pytest.mark.parametrize("rows", [2, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_room_for_two_vectors_the_outermost_values_are_right(rows: int, dtype: torch.dtype) -> None:
    """Also when it goes on long after λ_1 has converged and copies of it appear; the memory is kept to."""
    operator = Known(network(), dtype)
    room = rows * operator.dim * (8 if dtype == torch.float64 else 4)
    for accuracy, products in ((HUNDREDTH, 200), (0.0, 150)):
        krylov = finish(lanczos(operator, accuracy=accuracy, max_products=products, max_bytes=room))
        found = krylov.extremes
        assert f"room for {rows} vectors" in krylov.remark and krylov.vector is None
        assert len(found.top) == len(found.bottom) == 1
        assert found.memory <= room
        assert found.top[0].value == pytest.approx(float(operator.values[-1]), rel=HUNDREDTH)
        assert found.bottom[0].value == pytest.approx(float(operator.values[0]), rel=HUNDREDTH)
        assert found.negative_at_least == 1
        true_within_bounds(found, operator)


@pytest.mark.parametrize("at_once", [1, 4, 100])
@pytest.mark.parametrize("rows", [12, 200])
def test_a_basis_in_host_memory_gives_the_same_values(rows: int, at_once: int) -> None:
    """With and without restarts, however many vectors the device holds at once."""
    operator = Known(network())
    size = 8 * operator.dim
    whole = finish(lanczos(operator, max_products=400, accuracy=1e-6)).extremes
    krylov = finish(
        lanczos(
            operator,
            max_products=2000,
            accuracy=1e-6,
            max_bytes=2 * min(at_once, 4) * size,
            host_bytes=rows * size,
        )
    )
    assert krylov.stopped and krylov.remark == "basis in host memory"
    found = krylov.extremes
    for ours, theirs in zip((*found.top, found.bottom[0]), (*whole.top, whole.bottom[0]), strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=1e-6)
    assert krylov.vector is not None
    assert float(krylov.vector @ operator.eigenvector(operator.dim - 1)) ** 2 == pytest.approx(1.0, abs=1e-6)
    true_within_bounds(found, operator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("host", [False, True])
def test_the_basis_stays_orthonormal(dtype: torch.dtype, host: bool) -> None:
    """After 60 products and seven restarts QQᵀ = 1 and T = QᵀHQ, in either precision, wherever it is kept."""
    operator = Known([1e3, *network(200_000)], dtype)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(operator.dim, dtype=dtype, generator=generator)
    kept = HostBasis(operator, 16, 5) if host else DeviceBasis(operator, 16)
    space = KrylovSpace(operator, start, kept, 16)
    while space.products < 60:
        space.take(space.multiply().tolist())
        if space.multiplied == space.rows - 1:
            space.restart([0, 1, 2, 3, 10, 11, 12, 13, 14])
    vectors = torch.stack([kept.vector(place) for place in range(space.multiplied)])
    rounding = 1e-5 if dtype == torch.float32 else 1e-13
    gram = vectors.double() @ vectors.double().T
    assert float((gram - torch.eye(len(vectors))).abs().max()) < rounding
    projected = torch.stack([operator.matvec(row) for row in vectors]).double() @ vectors.double().T
    values, _, _ = space.ritz()
    truth = torch.linalg.eigvalsh(projected)
    assert float((values - truth).abs().max()) < 10 * rounding * float(truth.abs().max())


def test_copies_of_converged_values_do_appear_without_the_whole_basis() -> None:
    """Which is why no more than the outermost is reported: λ_1 = 1e4 alone, and 60 products find it twice."""
    operator = Known([1e4, *spread(-1.0, 1.0, 199)], torch.float32)
    start = torch.ones(operator.dim)
    space = KrylovSpace(operator, start, RecentBasis(operator, 2), 60)
    while space.products < 60:
        space.take(space.multiply().tolist())
    values, _, _ = space.ritz()
    assert int((values > 9e3).sum()) > 1


def test_norms_of_long_vectors_are_right_in_single_precision() -> None:
    """A sum in float32 that runs on is off by 4e-4 at ten million entries."""
    ones = torch.full((10_000_000,), 0.1)
    assert float(norm(ones)) == pytest.approx(float(ones.double().norm()), rel=1e-6)


@pytest.mark.parametrize("unit", [1e-24, 1e24])
def test_the_unit_of_the_loss_changes_no_value(unit: float) -> None:
    """In float32, whose squares of such curvatures vanish or overflow: both ends, the count and the trace by probes."""
    plain, other = Known(network(500), torch.float32), Known([unit * h for h in network(500)], torch.float32)
    found, scaled = (finish(lanczos(operator, top=2)).extremes for operator in (plain, other))
    assert scaled.hvps == found.hvps and scaled.negative_at_least == found.negative_at_least
    for one, two in zip((*found.top, *found.bottom), (*scaled.top, *scaled.bottom), strict=True):
        assert two.value == pytest.approx(unit * one.value, rel=1e-3, abs=1e-4 * unit)
        assert two.converged == one.converged
    trace, its = (finish(slq(operator, probes=2, steps=16)).trace() for operator in (plain, other))
    assert its.value == pytest.approx(unit * trace.value, rel=1e-3)


def test_single_precision_keeps_ghosts_away() -> None:
    """In float32 a spectrum with a huge outlier shows no copy of it among the top values."""
    operator = Known([1e4, *spread(-1.0, 1.0, 199)], torch.float32)
    found = finish(lanczos(operator, max_products=64, accuracy=0)).extremes
    assert found.top[0].value == pytest.approx(1e4, rel=1e-5)
    assert found.top[1].value < 2.0
    assert 0 < found.noise < 1e-5 * 1e4


def test_a_known_direction_in_the_start_saves_products() -> None:
    """With the wanted eigenvectors in the start the top five take at most nine tenths of what they take from a random one."""
    operator = Known(network())
    count = operator.dim
    known = torch.stack([operator.eigenvector(at) for at in range(count - 5, count)]).sum(0)
    blind = finish(lanczos(operator, bottom=0, max_products=200, seed=1)).extremes
    told = finish(lanczos(operator, bottom=0, max_products=200, known=known, seed=1)).extremes
    assert told.hvps <= 0.9 * blind.hvps
    assert told.top[0].value == pytest.approx(10.0, rel=HUNDREDTH)


@pytest.mark.parametrize("missing", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_a_value_between_others_is_not_overlooked(missing: int, seed: int) -> None:
    """A start with all of the largest eigenvectors but one, as a gradient may be: the others converge long before that
    one appears. It goes on until it has; and stopped on the way, every value is within its residual."""
    operator = Known([*network(), 14.0, 13.3, 12.7, 12.0, 11.4])
    count = operator.dim
    places = [count - 1 - place for place in range(5) if place != missing]
    known = torch.stack([operator.eigenvector(place) for place in places]).sum(0)
    truth = operator.values.flip(0)[:5].tolist()
    krylov = finish(lanczos(operator, max_products=80, known=known, seed=seed))
    assert krylov.stopped
    assert [ritz.value for ritz in krylov.extremes.top] == pytest.approx(truth, rel=HUNDREDTH)
    for products in range(8, 30, 3):
        found = finish(lanczos(operator, max_products=products, known=known, seed=seed)).extremes
        for ritz, value in zip(found.top, truth, strict=True):
            assert abs(ritz.value - value) <= ritz.residual, products


@pytest.mark.parametrize("seed", range(4))
def test_a_value_that_stands_for_two_carries_how_far_the_other_may_lie(seed: int) -> None:
    """A start without the fifth eigenvector: the sixth, close to it, converges in its place with a small residual."""
    operator = Known([*network(), 14.0, 13.3, 12.7, 11.6, 11.07, 10.9, 10.6])
    places = [operator.dim - 1 - place for place in range(7) if place != 4]
    known = torch.stack([operator.eigenvector(place) for place in places]).sum(0)
    truth = operator.values.flip(0)[:5].tolist()
    for products in range(10, 30, 2):
        found = finish(lanczos(operator, max_products=products, known=known, seed=seed)).extremes
        for ritz, value in zip(found.top, truth, strict=True):
            assert abs(ritz.value - value) <= ritz.residual, products


def test_a_nan_is_refused() -> None:
    """A product that is not finite gives words, not numbers."""
    with pytest.raises(ValueError, match="not finite"):
        finish(lanczos(Known([float("nan")] * 4)))


class Lopsided(Known):
    """Products that are wrong by a part in a thousand, not symmetrically."""

    def matvec(self, vector: Tensor) -> Tensor:
        product = super().matvec(vector)
        return product + 1e-3 * torch.roll(vector, 1)


def test_asymmetric_products_raise_the_tolerance() -> None:
    """What is counted as negative lies 20 times above the asymmetry that was seen."""
    found = finish(lanczos(Lopsided(spread(-1.0, 9.0, 300)))).extremes
    assert found.noise > 1e-5
    assert found.tolerance >= 20 * found.noise


spectra = st.lists(
    st.one_of(
        st.just(0.0), st.floats(-10, 10, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-3)
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=500, deadline=None)
@given(
    spectrum=spectra,
    steps=st.integers(1, 24),
    rows=st.integers(6, 24),
    seed=st.integers(0, 3),
    double=st.booleans(),
)
def test_the_certificate_never_exceeds_the_truth(
    spectrum: list[float], steps: int, rows: int, seed: int, double: bool
) -> None:
    """ "At least k" is true for every spectrum, length of the run, room, precision and start."""
    operator = Known(spectrum, torch.float64 if double else torch.float32)
    room = rows * len(spectrum) * (8 if double else 4)
    krylov: Krylov = finish(
        lanczos(operator, top=2, max_products=steps, accuracy=0, seed=seed, max_bytes=room)
    )
    found = krylov.extremes
    assert found.negative_at_least <= int((operator.values < -found.tolerance).sum())
    true_within_bounds(found, operator)
