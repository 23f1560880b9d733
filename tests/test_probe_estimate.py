"""Errors of few samples against the distributions that they come from."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from lsmon.probe.algorithms.bounds import end_errors
from lsmon.probe.algorithms.convergence import doubt, split_rhat
from lsmon.probe.algorithms.estimate import estimate, wider


def within(quantile: float, free: int) -> float:
    """P(|t| < quantile) of Student's t with so many degrees of freedom, by the integral of its density."""
    t = np.linspace(-quantile, quantile, 100_001)
    size = math.exp(math.lgamma((free + 1) / 2) - math.lgamma(free / 2)) / math.sqrt(free * math.pi)
    return float((size * (1 + t**2 / free) ** (-(free + 1) / 2)).sum() * (t[1] - t[0]))


@pytest.mark.parametrize("count", [*range(2, 17), 30, 100, 1000])
def test_an_error_is_half_of_students_interval(count: int) -> None:
    """From the table and behind it; one sample alone has no error that is finite."""
    assert within(2 * wider(count), count - 1) == pytest.approx(0.95, abs=3e-4)
    draw = random.Random(count)
    samples = [draw.gauss(1.0, 0.5) for _ in range(count)]
    found = estimate(samples)
    assert found.value == pytest.approx(np.mean(samples))
    assert found.se == pytest.approx(wider(count) * np.std(samples, ddof=1) / math.sqrt(count))
    assert estimate([3.0]).value == 3.0 and estimate([3.0]).se == math.inf == wider(1)


@pytest.mark.parametrize("seed", range(10))
def test_the_error_of_a_ritz_value_holds_its_eigenvalue(seed: int) -> None:
    """In a space that holds the outermost eigenvectors nearly: quadratic in the residual, and for two that lie close
    together by what they have in common, where each alone would say less than its residual does."""
    draw = np.random.default_rng(seed)
    truth = np.sort(np.concatenate([draw.uniform(-1, 1, 60), [3.0, 5.0, 5.0 + 1e-3 * draw.random()]]))[::-1]
    vectors = np.eye(len(truth))[:, :12] + 0.003 * draw.normal(size=(len(truth), 12))
    basis, _ = np.linalg.qr(vectors)
    inner, turn = np.linalg.eigh(basis.T @ (truth[:, None] * basis))
    ritz = (basis @ turn)[:, ::-1]
    values = inner[::-1]
    residuals = np.linalg.norm(truth[:, None] * ritz - ritz * values, axis=0)
    found = end_errors(values.tolist(), residuals.tolist(), 3)
    assert len(found) == 3
    for error, value, exact, residual in zip(found, values, truth, residuals, strict=False):
        assert abs(value - exact) <= error < 0.5 * residual


def test_a_residual_is_all_that_is_known_without_a_neighbour() -> None:
    assert end_errors([2.0], [0.1], 5) == [0.1]
    assert end_errors([2.0, 2.0], [0.1, 0.2], 2) == [0.1, 0.2]  # no gap


def chains(shift: float, drift: float = 0.0, seed: int = 0, length: int = 400) -> list[list[float]]:
    """Four of white noise, of which one lies elsewhere, and all move on from their first half to their second."""
    draw = random.Random(seed)
    return [
        [draw.gauss(5.0, 1) + shift * (chain == 0) + drift * (step >= length // 2) for step in range(length)]
        for chain in range(4)
    ]


@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_split_rhat_is_gelmans(shift: float, drift: float) -> None:
    """√(((n - 1)/n W + B/n) / W) of the eight halves (Gelman et al. 2013, equation 11.4), by numpy."""
    parts = np.array(chains(shift, drift)).reshape(8, 200)
    within, between = parts.var(1, ddof=1).mean(), 200 * parts.mean(1).var(ddof=1)
    truth = math.sqrt((199 / 200 * within + between / 200) / within)
    assert split_rhat(chains(shift, drift)) == pytest.approx(truth)


def test_what_speaks_against_a_coefficient() -> None:
    """Chains in different places, on their way, below where they began, too stiff, or gone; nothing against white noise."""

    def said(counted: list[list[float]], stiffness: float = 0.1, value: float = 1.0) -> str:
        return doubt(value, counted, split_rhat(counted), stiffness)

    assert said(chains(0.0)) == ""
    assert "disagree" in said(chains(3.0)) and "still" not in said(chains(3.0))
    assert "still rises" in said(chains(0.0, 0.5)) and "still falls" in said(chains(0.0, -0.5))
    assert "not a minimum" in said([[loss - 10 for loss in chain] for chain in chains(0.0)])
    assert said(chains(0.0), 0.19) == "" and "η λ_max = 0.21" in said(chains(0.0), 0.21)
    assert "left the region" in said(chains(0.0), value=math.inf)
