"""Langevin dynamics of an L2-regularised network at a temperature that is known; the hundred repetitions are in
``tests/bench/langevin.py``."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from lsmon.probe import Sensor
from lsmon.probe.sensors.equilibrium import Equilibrium
from lsmon.probe.sensors.temperature import Temperature
from tests.langevin import Langevin, quadratic, recorded, stretches
from tests.one_thread import one_thread  # noqa: F401 (autouse)


def network(seed: int, steps: int, *sensors: Sensor) -> Langevin:
    """16-24-10, d = 658, on random labels, after so many steps; the whole data's loss in every micro-batch."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 10))
    inputs, labels = torch.randn(64, 16), torch.randint(0, 10, (64,))
    run = Langevin(model, lambda m: nn.functional.cross_entropy(m(inputs), labels), 0.1, 1e-2, 1e-3, seed)
    if sensors:
        run.watch(*sensors)
    for _ in range(steps):
        run.step()
    return run


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_network_in_a_bath_of_known_temperature(seed: int) -> None:
    """T within 5 % and within two errors, at n = 96, while the network is still learning."""
    value, error, words = network(seed, 110, Temperature(), Equilibrium()).last("temperature/noise")
    assert value == pytest.approx(1e-3, rel=0.05)
    assert abs(value - 1e-3) <= 2 * error
    assert "micro-batches, M=2, n=96, identity metric, d=658" in words


def test_watching_micro_batches_changes_nothing() -> None:
    """The parameters are the same to the last bit with the sensors and without."""
    watched, alone = network(0, 60, Temperature(), Equilibrium()), network(0, 60)
    assert all(torch.equal(one, two) for one, two in zip(watched.parameters, alone.parameters, strict=True))


def test_down_in_equilibrium_heated_and_in_equilibrium_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a real probe records of a quadratic in a bath: the gauge reads descending from far above the bath's energy,
    equilibrium, heating for a while after the learning rate is raised tenfold, and equilibrium at ten times the heat; the
    regime says heating in its words. ⟨U⟩ = dT/2 (1 - e^(-2ηht)) and R = 1 - (dU/dt) / (ηhdT) are exact here."""
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))
    slow, size = 1e-4, 5000
    run = quadratic(torch.ones(size), 1e-2, 1e-3, 0, start=0.5)

    def calmer() -> int:
        run.accelerate(slow)
        return 260

    def hotter() -> int:
        run.heat *= 10
        run.accelerate(10 * slow)
        return 700

    frames = recorded(run, lambda: 700, calmer, hotter)
    told = stretches(frames, "temperature/equilibrium", ";")
    labels = [label for label, _, _ in told if label != "insufficient"]
    assert [one for place, one in enumerate(labels) if place == 0 or one != labels[place - 1]] == [
        "descending", "equilibrium", "heating", "equilibrium",
    ]  # fmt: skip
    first = next(first for label, first, _ in told if label == "heating")
    assert 960 + 200 <= first <= 960 + 220
    frame = next(one for one in frames if one.step == first and "temperature/equilibrium" in one.values)
    value, error = frame.values["temperature/equilibrium"], frame.errors["temperature/equilibrium"]
    spent = first - 960
    rise = 0.9 * -math.expm1(-2 * 10 * slow * spent) / (2 * 10 * slow * spent)
    assert abs(value - (1 - rise)) <= 2 * error < 0.25
    assert "by energy" in frame.words["temperature/equilibrium"]
    regime = [one.words["regime"] for one in frames if "regime" in one.words]
    assert any(
        words.startswith("heating: noise heats faster than the gradient descends, R = ") for words in regime
    )
