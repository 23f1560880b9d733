"""Stochastic Lanczos quadrature against exact spectra: shares that lie within their errors, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from lsmon.probe.algorithms.density import slq
from lsmon.probe.algorithms.quadrature import Density, Unresolved
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.spectra import (
    Known,
    finish,
    network,
    spread,
)

HALF_ZERO = [0.0] * 300 + spread(-3.0, -0.01, 60) + [0.02 * 1.03**i for i in range(200)]


def logs(values: torch.Tensor, delta: float) -> tuple[float, float]:
    """Log-volume and quadratic learning coefficient, exactly."""
    positive = values.clamp_min(0)
    return float(-0.5 * torch.log1p(positive / delta).sum()), float(
        0.5 * (positive / (positive + delta)).sum()
    )


@pytest.mark.parametrize("spectrum", [network(1200), HALF_ZERO, spread(-2.0, 3.0, 700)])
def test_fractions_lie_within_two_errors(spectrum: list[float]) -> None:
    """At τ = 1e-2 the exact shares are within the reported 2σ in nine of ten repetitions, few as the probes are."""
    operator = Known(spectrum)
    size = float(operator.values.abs().max())
    negative = float((operator.values < -1e-2 * size).double().mean())
    zero = float((operator.values.abs() <= 1e-2 * size).double().mean())
    inside = 0
    for seed in range(20):
        found = finish(slq(operator, steps=64, seed=seed)).fractions(1e-2)
        inside += abs(found.negative.value - negative) <= 2 * found.negative.se
        inside += abs(found.zero.value - zero) <= 2 * found.zero.se
        assert found.zero.se < 0.06
    assert inside >= 36


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_sums_over_the_spectrum(kind: str) -> None:
    """Trace, log-volume and learning coefficient lie within three errors, and the volumes within 20 %."""
    operator = Known(network(1200))
    density = finish(slq(operator, seed=3, kind="gaussian" if kind == "gaussian" else "rademacher"))
    volume, coefficient = logs(operator.values, 0.1)
    trace = density.trace()
    assert abs(trace.value - float(operator.values.sum())) <= 3 * trace.se
    for estimate, truth in (
        (density.log_volume(0.1), volume),
        (density.llc_quadratic(0.1), coefficient),
    ):
        assert abs(estimate.value - truth) <= 3 * estimate.se
        assert estimate.value == pytest.approx(truth, rel=0.2)


def test_a_sum_of_few_eigenvalues_lies_within_two_errors() -> None:
    """Nine times in ten also where few probes agree by chance: with one large eigenvalue, and in two dimensions, where
    four of them may be the same, which alone would say that the trace is certain."""
    for spectrum, probes in (
        ([1.0, -0.3], 8),
        ([1.0, -0.3], 4),
        ([1.0] + [0.01] * 4, 8),
        ([1.0] + [0.0] * 29, 8),
    ):
        truth, inside = math.fsum(spectrum), 0
        for seed in range(100):
            found = finish(slq(Known(spectrum, seed=seed), probes=probes, seed=1000 + seed)).trace()
            error = abs(found.value - truth)
            inside += error <= 2 * found.se + 1e-9
            assert error < 1e-6 or found.se > 0.1 * error
        assert inside >= (90 if probes == 8 else 85), (spectrum, inside)


def test_a_tolerance_below_the_resolution_is_refused() -> None:
    """0.3 (λ_max - λ_min)/(m |H|) is the smallest τ; below it one sentence says so."""
    density = finish(slq(Known(network(1200)), probes=2, steps=16))
    assert density.resolution == pytest.approx(0.3 * 10.5 / (16 * 10.0), rel=1e-2)
    with pytest.raises(Unresolved, match="16 Lanczos steps resolve no tolerance below 0"):
        density.fractions(1e-2)
    assert 0 < density.fractions(0.02).negative.value < 1


def test_64_steps_resolve_a_hundredth() -> None:
    """Even where both ends are of equal size, as at a network's start."""
    assert finish(slq(Known(spread(-1.0, 1.0, 400)), probes=2)).resolution <= 1e-2


def test_an_exhausted_space_is_exact() -> None:
    """With few distinct eigenvalues the quadrature ends early, has no error of its own, and resolves everything."""
    operator = Known([-1.0] * 100 + [0.0] * 250 + [2.0] * 150)
    density = finish(slq(operator))
    assert density.complete
    assert operator.products == density.hvps <= 8 * 4
    found = density.fractions(1e-5)
    assert found.negative.value == pytest.approx(0.2, abs=2 * found.negative.se)
    assert found.zero.value == pytest.approx(0.5, abs=2 * found.zero.se)
    for nodes, weights in density.quadratures:
        assert float(weights.sum()) == pytest.approx(1.0)
        assert float(weights[(nodes + 1).abs() < 1e-6].sum()) > 0.1


def test_common_random_numbers_cancel() -> None:
    """Between two checkpoints with the same seed the difference is far more certain than either volume."""
    before, after = network(1200), [1.05 * value for value in network(1200)]
    exact = (
        logs(torch.tensor(after, dtype=torch.float64), 0.1)[0]
        - logs(torch.tensor(before, dtype=torch.float64), 0.1)[0]
    )
    one = finish(slq(Known(before), seed=5)).log_volume(0.1)
    two = finish(slq(Known(after), seed=5)).log_volume(0.1)
    assert abs(two.value - one.value - exact) < 0.25 * one.se


def test_the_density_is_a_distribution_over_the_spectrum() -> None:
    """Masses sum to one, lie where the eigenvalues are, and most of a network's is at zero."""
    centres, masses = finish(slq(Known(network(1200)))).grid(101)
    assert len(centres) == len(masses) == 101
    assert list(centres) == sorted(centres)
    assert centres[0] == pytest.approx(-0.5, rel=1e-3) and centres[-1] == pytest.approx(10.0, rel=1e-3)
    assert math.fsum(masses) == pytest.approx(1.0) and min(masses) >= 0
    assert sum(mass for centre, mass in zip(centres, masses, strict=True) if abs(centre) < 0.5) > 0.85


def test_little_memory_changes_little() -> None:
    """With room for six vectors the same shares come out, within the errors."""
    operator = Known(network(1200), torch.float32)
    whole = finish(slq(operator))
    window = finish(slq(operator, max_bytes=6 * 4 * 1200))
    assert window.memory == 6 * 4 * 1200 < whole.memory
    for one, two in (
        (window.fractions().negative, whole.fractions().negative),
        (window.fractions().zero, whole.fractions().zero),
        (window.trace(), whole.trace()),
        (window.log_volume(0.1), whole.log_volume(0.1)),
    ):
        assert abs(one.value - two.value) <= 2 * max(one.se, two.se)
    with pytest.raises(ValueError, match="at least 3 are needed"):
        finish(slq(operator, max_bytes=2 * 4 * 1200))


def test_a_zero_operator_has_zeros_only() -> None:
    """H = 0 has no negative share, no volume lost, and one point of density."""
    density = finish(slq(Known([0.0] * 50)))
    assert (density.fractions().negative.value, density.fractions().zero.value) == (0.0, 1.0)
    assert density.log_volume(1.0).value == 0.0
    assert density.grid() == ((0.0,), (1.0,))


def test_one_product_per_next_and_a_nan_is_refused() -> None:
    """The products can be spread over training steps; one that is not finite gives words."""
    operator = Known(network(200))
    work = slq(operator, probes=2, steps=5)
    for products in range(1, 11):
        next(work)
        assert operator.products == products
    assert isinstance(finish(work), Density)
    with pytest.raises(ValueError, match="not finite"):
        finish(slq(Known([float("nan")] * 4)))


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_stream() -> None:
    """The probes come from a generator of their own."""
    before = torch.get_rng_state()
    one, two = (finish(slq(Known(network(300)), probes=3, steps=12)).trace() for _ in range(2))
    assert one == two
    assert torch.equal(before, torch.get_rng_state())
