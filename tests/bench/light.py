"""What the light sensors cost the small GPT: norms, scale by layer and temperature, which need no backward pass.

    python -m tests.bench.light [--rounds 800] [--until 0.004]

Three copies of one training take turns of two steps in an order drawn anew each round: a watched one and two that are not.
Turns that short see the same machine; longer ones drift apart by more than what is to be seen.
What counts is CPU time, which other work on the machine lengthens but does not fill; the cost is the ratio of the sums with
its 95 % interval over the rounds, and the second unwatched copy against the first says what the method itself makes of
nothing. It goes on until the interval is as narrow as asked, or the rounds are over. The thread that sends runs beside all
three, so its time is left out there, and is that of a stretch in which the watched copy trains alone. The probe's own
account stands beside it. ``off`` is what the probe costs without the sensors.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import tempfile
import time
from collections.abc import Callable

import torch

from lsmon.probe import Probe
from lsmon.probe.algorithms.estimate import estimate

from .workloads import Training, loss_fn, training

STEPS = 2
FEWEST = 100
"""Rounds before the interval is believed."""
TARGET = 0.02


ALONE = 400
"""Steps of the watched copy alone."""


def turn(run: Training, probe: Probe | None, beside: Callable[[], float], steps: int = STEPS) -> float:
    """CPU seconds of some steps, of all threads but the one that sends."""
    began = time.process_time() - beside()
    for _ in range(steps):
        loss, batch = run.step()
        if probe is not None:
            probe.step(loss, batch)
    return time.process_time() - beside() - began


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

        thread = probe._sender._thread
        assert thread is not None and thread.ident is not None
        clock_id = time.pthread_getcpuclockid(thread.ident)

        def sending() -> float:
            return time.clock_gettime(clock_id)

        def account() -> dict[str, float]:
            each = {slot.sensor.name: slot.account.spent for slot in slots}
            return each | {"calls": budget.overhead, "elapsed": budget.elapsed}

        for name, run in runs.items():
            turn(run, probe if name == "watched" else None, sending, 10)
        before = account()
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(1, rounds + 1):
            for name in draw.sample(list(runs), len(runs)):
                began = time.monotonic()
                seconds[name].append(turn(runs[name], probe if name == "watched" else None, sending))
                if name != "watched":
                    clock.paused += time.monotonic() - began
            if number >= FEWEST and excess(seconds["watched"], seconds["bare"])[1] < until:
                break
        after = account()
        before_alone = sending()
        alone = turn(watched, probe, sending, ALONE)
        sent = (sending() - before_alone) / alone
        probe.close()
    elapsed = after.pop("elapsed") - before["elapsed"]
    shares = {name: (value - before[name]) / elapsed for name, value in after.items()}
    sensors = sum(share for name, share in shares.items() if name != "calls")
    cost, nothing = (excess(seconds[name], seconds["bare"]) for name in ("watched", "again"))
    print(f"small GPT, sensors={kind!r}, {torch.get_num_threads()} threads, {number} rounds of {STEPS} steps of {1e3 * sum(seconds['bare']) / number / STEPS:.0f} ms of CPU")  # fmt: skip
    print(f"    CPU beside a training without: {cost[0]:+.2%} ± {cost[1]:.2%}, and {sent:.2%} for sending: {cost[0] + sent:+.2%}; two without: {nothing[0]:+.2%} ± {nothing[1]:.2%} (95 %)")  # fmt: skip
    print(f"    the light sensors by the probe's own account: {sensors:.2%} of the wall time, at most {TARGET:.0%} is wanted")  # fmt: skip
    print("    " + ", ".join(f"{name} {share:.2%}" for name, share in shares.items()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=800)
    parser.add_argument("--until", type=float, default=0.004)
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    for kind in ("off", "light"):
        compare(kind, given.rounds, given.until)


if __name__ == "__main__":
    main()
