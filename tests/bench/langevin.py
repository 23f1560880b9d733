"""Langevin dynamics at a temperature that is known: how well it is read, and what the equilibrium gauge says.

    python -m tests.bench.langevin [temperature gauge]

``temperature``: SGLD on an L2-regularised network of 1210 parameters on digits and on a quadratic, 100 repetitions of
n = 96 micro-batch estimates each. ``gauge``: a quadratic and such a network on their way down, at equilibrium, with the
learning rate raised tenfold while the noise stays as it is, and at equilibrium again; what the real probe recorded.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable

import torch
from torch import nn

from lsmon.probe.sensors.temperature import Temperature

from ..langevin import Langevin, quadratic, recorded, stretches
from .workloads import digits

TRUTH = 1e-3


def network(seed: int, lr: float = 0.5, decay: float = 2e-2, heat: float = TRUTH, width: int = 16) -> Langevin:  # fmt: skip
    """64-16-10, d = 1210, on 128 digits, whole batch."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 10))
    images, labels = (part[:128] for part in digits()[0])
    return Langevin(model, lambda m: nn.functional.cross_entropy(m(images), labels), lr, decay, heat, seed)


def temperature() -> None:
    makers: dict[str, Callable[[int], Langevin]] = {
        "quadratic, d = 10": lambda seed: quadratic(torch.logspace(-1, 1, 10), 0.1, TRUTH, seed),
        "quadratic, d = 100": lambda seed: quadratic(torch.logspace(-1, 1, 100), 0.1, TRUTH, seed),
        "digits network, d = 1210": network,
    }
    for name, make in makers.items():
        errors, inside = [], 0
        for seed in range(100):
            run = make(seed)
            run.watch(Temperature())
            for _ in range(110):
                run.step()
            value, error, words = run.last("temperature/noise")
            assert "n=96" in words
            errors.append(value / TRUTH - 1)
            inside += abs(value - TRUTH) <= 2 * error
        print(
            f"{name:28} error {statistics.mean(errors):+.2%} ± {statistics.stdev(errors):.2%}, worst {max(map(abs, errors)):.2%};"
            f" the truth lies within 2σ in {inside} of 100"
        )


def gauge() -> None:
    """Down, equilibrium, the learning rate ten times higher with the noise as it is, heating, equilibrium again."""
    runs: dict[str, tuple[Langevin, float, int]] = {
        # where the curvatures are all alike the heating lasts for 1/(2ηh) steps
        "quadratic, d = 20 000": (quadratic(torch.ones(20_000), 1e-2, TRUTH, 0, start=0.5), 1e-4, 1200),
        "digits network, d = 4810": (network(0, lr=5e-3, decay=0.2, heat=TRUTH / 10, width=64), 5e-4, 3000),
    }
    for name, (run, slow, down) in runs.items():

        def calmer(run: Langevin = run, slow: float = slow) -> int:
            run.accelerate(slow)
            return 1200

        def faster(run: Langevin = run, slow: float = slow) -> int:
            run.heat *= 10
            run.accelerate(10 * slow)
            return 2000

        frames = recorded(run, lambda down=down: down, calmer, faster)  # type: ignore[misc]
        print(f"{name}; at step {down + 1200} η {slow:g} → {10 * slow:g}, T {run.heat / 10:g} → {run.heat:g}")
        for label, first, last in stretches(frames, "temperature/equilibrium", ";"):
            value, error = (part["temperature/equilibrium"] for part in (last.values, last.errors))
            words = last.words["temperature/equilibrium"].split(";", 1)[1]
            print(f"    steps {first:5}-{last.step:5}  {label:12}  at last R = {value:5.2f} ± {2 * error:4.2f};{words}")  # fmt: skip
        for _, first, last in stretches(frames, "regime", ":"):
            print(f"    from step {first:5}  regime  {last.words['regime']}")
        last = [frame for frame in frames if "temperature/noise" in frame.values][-1]
        value, error = (part["temperature/noise"] for part in (last.values, last.errors))
        print(f"    T = {value:.4g} ± {2 * error:.2g} (2σ), truth {run.heat:g}")


def main() -> None:
    torch.set_num_threads(1)
    parts = {"temperature": temperature, "gauge": gauge}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LSMON_DIR"] = os.environ["LSMON_RUNTIME_DIR"] = folder
        for name in sys.argv[1:] or parts:
            parts[name]()


if __name__ == "__main__":
    main()
