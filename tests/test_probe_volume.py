"""Volumes against exact spectra and exact bodies, and differences whose error is smaller than that of their parts."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lsmon.probe.algorithms.density import slq
from lsmon.probe.algorithms.estimate import Estimate
from lsmon.probe.algorithms.quadrature import Density
from lsmon.probe.algorithms.volume import by_probe, change, damped, ellipsoid, estimated_ellipsoid, shorter
from lsmon.probe.operators import ladder
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.reference import Reference
from lsmon.probe.sensors.known import Known as Before
from lsmon.probe.sensors.sensor import Context
from lsmon.probe.sensors.spectral_density import density
from lsmon.protocol.codec import decode, encode
from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import Curvature, Scalars
from lsmon.protocol.volume import change as told_change
from tests.landscape import cross_entropy, dense_hessian
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.spectra import Known, finish, network


def exact(values: torch.Tensor, delta: float) -> float:
    return float(damped(delta)(values.double()).sum())


@pytest.mark.parametrize("epsilon", [0.1, 2.0])
def test_the_ellipsoid_is_that_of_geometry(epsilon: float) -> None:
    """An ellipse π a b and an ellipsoid 4/3 π a b c with half axes √(2ε/λ); flat and negative directions are left out."""
    axes = [math.sqrt(2 * epsilon / value) for value in (4.0, 1.0, 9.0)]
    found = ellipsoid(torch.tensor([4.0, 1.0, 1e-4, -0.5]), epsilon)
    assert found.directions == 2
    assert found.log_volume == pytest.approx(math.log(math.pi * axes[0] * axes[1]))
    found = ellipsoid(torch.tensor([4.0, 1.0, 9.0]), epsilon)
    assert found.log_volume == pytest.approx(math.log(4 / 3 * math.pi * math.prod(axes)))
    with pytest.raises(ValueError, match="no direction"):
        ellipsoid(torch.tensor([-1.0, 0.0]), epsilon)
    with pytest.raises(ValueError, match="no positive height"):
        ellipsoid(torch.tensor([4.0, 1.0]), -epsilon)


def test_the_flat_valley_is_the_larger_one() -> None:
    """V₁/V₂ = ∏ √(λ₂/λ₁), the sharp one's curvatures in the numerator of what is divided by."""
    sharp, flat = torch.tensor([9.0, 4.0, 1.0]), torch.tensor([0.9, 0.4, 0.1])
    ratio = ellipsoid(flat, 0.1).log_volume - ellipsoid(sharp, 0.1).log_volume
    assert ratio == pytest.approx(0.5 * float(torch.log(sharp / flat).sum()))


def at_the_start() -> torch.Tensor:
    """The spectrum of a fresh network, d = 291: a crowd of eigenvalues on both sides of the tolerance."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 3))
    batch = torch.randn(64, 8), torch.randint(0, 3, (64,))
    values: torch.Tensor = torch.linalg.eigvalsh(dense_hessian(model, cross_entropy, batch))
    return values


@pytest.mark.parametrize("spectrum", [lambda: torch.tensor(network(600)), at_the_start])
def test_the_ellipsoid_from_quadratures(spectrum: Callable[[], torch.Tensor]) -> None:
    """The same from eight probes as from the spectrum within two errors, nine times in ten."""
    values = spectrum().double()
    truth, inside = ellipsoid(values, 0.1), 0
    for seed in range(10):
        found = estimated_ellipsoid(finish(slq(Known(values), probes=8, steps=64, seed=seed)), 0.1)
        inside += abs(found.log_volume - truth.log_volume) <= 2 * found.se
    assert inside >= 9


def test_errors_of_complete_quadratures_are_those_that_they_have() -> None:
    """By Gaussian probes, whose variance does not depend on the eigenvectors: in 90 of 100 repetitions at least the truth is
    within two errors, and on average they are less than half too wide; of four eigenvalues none is near the tolerance."""
    spectrum = [-1.0] * 50 + [0.0] * 150 + [0.5] * 60 + [2.0] * 40
    values = torch.tensor(spectrum, dtype=torch.float64)
    truths = {
        "trace": math.fsum(spectrum), "volume": exact(values, 0.1), "negative": 1 / 6, "zero": 1 / 2,
        "ellipsoid": ellipsoid(values, 0.1).log_volume,
    }  # fmt: skip
    off: dict[str, list[float]] = {name: [] for name in truths}
    told: dict[str, list[float]] = {name: [] for name in truths}
    for seed in range(100):
        found = finish(slq(Known(spectrum, seed=seed), probes=8, steps=24, seed=seed, kind="gaussian"))
        assert found.complete
        shares, body = found.fractions(), estimated_ellipsoid(found, 0.1)
        numbers = {
            "trace": found.trace(), "volume": found.log_volume(0.1), "negative": shares.negative,
            "zero": shares.zero, "ellipsoid": Estimate(body.log_volume, body.se),
        }  # fmt: skip
        for name, number in numbers.items():
            off[name].append(number.value - truths[name])
            told[name].append(number.se)
    for name in truths:
        inside = sum(abs(error) <= 2 * se for error, se in zip(off[name], told[name], strict=True))
        scatter = math.sqrt(math.fsum(error**2 for error in off[name]) / 100)
        assert inside >= 90 and sum(told[name]) / 100 < 1.5 * scatter, name


@pytest.mark.parametrize("seed", range(3))
def test_a_difference_is_known_better_than_its_parts(seed: int) -> None:
    """Two spectra that differ in twenty directions: within two errors, though these are smaller than those of the parts;
    what remains is the quadrature's, which both have but not alike."""
    before = torch.tensor(network(1500), dtype=torch.float64).sort().values
    after = before.clone()
    after[-20:] *= 0.5
    one, two = (finish(slq(Known(values), probes=8, steps=64, seed=seed)) for values in (before, after))
    found = change(one, two, damped(0.1))
    truth = exact(after, 0.1) - exact(before, 0.1)
    assert abs(found.value - truth) <= 2 * found.se
    apart = math.hypot(one.log_volume(0.1).se, two.log_volume(0.1).se)
    assert found.se < 0.7 * apart
    with pytest.raises(ValueError, match="same probes"):
        change(one, finish(slq(Known(after), probes=4, steps=64, seed=seed)), damped(0.1))


def test_two_steps_of_a_training_against_dense_spectra() -> None:
    """Log-volume, coefficient and difference of a network before and after training, in float32, by dense float64."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 3))
    batch = torch.randn(64, 8), torch.randint(0, 3, (64,))
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    spectra, found_densities = [], []
    for _ in range(2):
        spectra.append(torch.linalg.eigvalsh(dense_hessian(model, cross_entropy, batch)))
        found_densities.append(
            finish(slq(Hessian(model, cross_entropy, Reference(batch)), probes=4, steps=48))
        )
        for _ in range(60):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(model, batch))
            optimizer.step()
    delta = 1e-2 * float(spectra[0][-1])
    for values, quadrature in zip(spectra, found_densities, strict=True):
        volume, coefficient = quadrature.log_volume(delta), quadrature.llc_quadratic(delta)
        positive = values.clamp_min(0)
        assert abs(volume.value - exact(values, delta)) <= max(2 * volume.se, 0.05 * abs(volume.value))
        truth = float(0.5 * (positive / (positive + delta)).sum())
        assert abs(coefficient.value - truth) <= max(2 * coefficient.se, 0.05 * coefficient.value)
    found = change(found_densities[0], found_densities[1], damped(delta))
    truth = exact(spectra[1], delta) - exact(spectra[0], delta)
    assert abs(found.value - truth) <= 2 * found.se


def frame(found: Density, delta: float, step: int) -> Curvature:
    return Curvature(
        step=step, parameters=1500, delta=delta, log_volume=found.log_volume(delta).value,
        log_volume_probes=tuple(by_probe(found, damped(delta))),
        log_volume_shorter=shorter(found, damped(delta)),
    )  # fmt: skip


def test_a_difference_beyond_what_a_float_holds_raises_nothing() -> None:
    """Nonsense in a file is nonsense on the screen, and no end of it."""
    far = (1.7e308, -1.7e308, 1e308)
    one = Curvature(log_volume=1.0, log_volume_probes=far, log_volume_shorter=far, delta=1.0)
    other = Curvature(log_volume=-1.0, log_volume_probes=far[::-1], log_volume_shorter=(0.0,) * 3, delta=1.0)
    assert not math.isfinite(told_change(one, other).se)


def test_the_difference_of_two_frames_is_that_of_the_measurements() -> None:
    """What travels is enough for it, also through the codec; other δ, other probes or no volume are told."""
    before = torch.tensor(network(1500), dtype=torch.float64).sort().values
    after = before.clone()
    after[-20:] *= 0.5
    one, two = (finish(slq(Known(values), probes=8, steps=64)) for values in (before, after))
    here, there = (decode(encode(frame(each, 0.1, 10 * place))) for place, each in enumerate((one, two)))
    assert isinstance(here, Curvature) and isinstance(there, Curvature)
    truth, found = change(one, two, damped(0.1)), told_change(here, there)
    assert found.value == pytest.approx(truth.value, rel=1e-3)
    assert found.se == pytest.approx(truth.se, rel=0.02)
    with pytest.raises(UsageError, match="no log-volume"):
        told_change(here, Curvature())
    with pytest.raises(UsageError, match="not measured alike"):
        told_change(here, frame(two, 0.2, 9))


def test_a_recorded_density_has_the_volume_of_its_valley_and_what_a_difference_needs() -> None:
    """The frames of a density, by seeds of all kinds: the ellipsoid with its constants in words, within two errors of the
    truth five times in six; and two steps of one seed make a change."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    batch = torch.randn(32, 4), torch.randint(0, 3, (32,))
    reference = Reference(batch)
    truth = ellipsoid(torch.linalg.eigvalsh(dense_hessian(model, cross_entropy, batch)), 1e-2)
    inside, known = 0, Before()
    for seed in range(5, -1, -1):
        context = Context(model, None, cross_entropy, reference=reference, seed=seed, step=1)
        before, essay = finish(density(context, ladder.choose(context), reference, known, 1 << 30))
        assert isinstance(essay, Scalars)
        assert essay.step == 1
        value, error = essay.values["volume/ellipsoid"], essay.errors["volume/ellipsoid"]
        inside += abs(value - truth.log_volume) <= 2 * error
        assert "∏√λ), ε = 0.01, r = " in essay.words["volume/ellipsoid"]
    assert inside >= 5
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.8)
    context.step = 2
    after = finish(density(context, ladder.choose(context), reference, known, 1 << 30))[0]
    assert isinstance(before, Curvature) and isinstance(after, Curvature)
    assert before.log_volume is not None and after.log_volume is not None
    found = told_change(before, after)
    assert found.value == pytest.approx(after.log_volume - before.log_volume, rel=1e-3)
    assert found.se > 0
