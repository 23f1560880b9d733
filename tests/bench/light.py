"""What the light sensors cost the small GPT: norms, scale by layer and temperature, which need no backward pass.

    python -m tests.bench.light [--rounds 60] [--until 0.005]

Three copies of one training take turns of ten steps in an order drawn anew each round: a watched one and two that are not.
What counts is CPU time, which other work on the machine lengthens but does not fill; the cost is the ratio of the sums with
its 95 % interval over the rounds, and the second unwatched copy against the first says what the method itself makes of
nothing. It goes on until the interval is as narrow as asked, or the rounds are over. The probe's own account stands beside
it, and each sensor's part of that. ``off`` is what the probe costs without them: the calls, and the thread that sends.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import tempfile
import time

import torch

from lsmon.probe import Probe
from lsmon.probe.algorithms.estimate import estimate

from .workloads import Training, loss_fn, training

STEPS = 10
FEWEST = 12
"""Rounds before the interval is believed."""
TARGET = 0.02


def turn(run: Training, probe: Probe | None) -> float:
    """CPU seconds of ten steps, of all threads."""
    began = time.process_time()
    for _ in range(STEPS):
        loss, batch = run.step()
        if probe is not None:
            probe.step(loss, batch)
    return time.process_time() - began


def excess(one: list[float], other: list[float]) -> tuple[float, float]:
    """Σ one / Σ other - 1, and half of its 95 % interval by the jackknife over the rounds."""
    count, top, low = len(one), math.fsum(one), math.fsum(other)
    without = [(top - t) / (low - b) for t, b in zip(one, other, strict=True)]
    found = estimate([count * top / low - (count - 1) * each for each in without])
    return top / low - 1, 2 * found.se


class Clock:
    """The probe's own time stands still while the other copy trains, or its allowance would be that of both."""

    def __init__(self) -> None:
        self.paused = 0.0

    def __call__(self) -> float:
        return time.monotonic() - self.paused


def compare(kind: str, rounds: int, until: float) -> None:
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LSMON_DIR"] = os.environ["LSMON_RUNTIME_DIR"] = folder
        runs = {name: training("gpt") for name in ("bare", "again", "watched")}
        watched = runs["watched"]
        probe = Probe(watched.model, watched.optimizer, loss_fn, name="light", sensors=kind)
        budget, clock = probe._budget, Clock()
        budget._clock = clock
        slots = probe._instruments._slots if probe._instruments is not None else []

        def account() -> dict[str, float]:
            each = {slot.sensor.name: slot.account.spent for slot in slots}
            return each | {"calls": budget.overhead, "sending": budget.elsewhere, "elapsed": budget.elapsed}

        for name, run in runs.items():
            turn(run, probe if name == "watched" else None)
        before = account()
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(1, rounds + 1):
            for name in draw.sample(list(runs), len(runs)):
                began = time.monotonic()
                seconds[name].append(turn(runs[name], probe if name == "watched" else None))
                if name != "watched":
                    clock.paused += time.monotonic() - began
            if number >= FEWEST and excess(seconds["watched"], seconds["bare"])[1] < until:
                break
        after = account()
        probe.close()
    elapsed = after.pop("elapsed") - before["elapsed"]
    shares = {name: (value - before[name]) / elapsed for name, value in after.items()}
    sensors = sum(share for name, share in shares.items() if name not in ("calls", "sending"))
    cost, nothing = (excess(seconds[name], seconds["bare"]) for name in ("watched", "again"))
    print(f"small GPT, sensors={kind!r}, {torch.get_num_threads()} threads, {number} rounds of {STEPS} steps of {1e3 * sum(seconds['bare']) / number / STEPS:.0f} ms of CPU")  # fmt: skip
    print(f"    beside a training without: CPU {cost[0]:+.2%} ± {cost[1]:.2%}; two without: {nothing[0]:+.2%} ± {nothing[1]:.2%} (95 %)")  # fmt: skip
    print(f"    the light sensors by the probe's own account: {sensors:.2%} of the wall time, at most {TARGET:.0%} is wanted")  # fmt: skip
    print("    " + ", ".join(f"{name} {share:.2%}" for name, share in shares.items()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--until", type=float, default=0.005)
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    for kind in ("off", "light"):
        compare(kind, given.rounds, given.until)


if __name__ == "__main__":
    main()
