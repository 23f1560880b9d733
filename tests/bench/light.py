"""What the light sensors cost the small GPT: norms, scale by layer and temperature, which need no backward pass.

    python -m tests.bench.light [PAIRS]

Two copies of one training take turns of 20 steps, one of them watched, so that the machine's other work meets both alike;
the cost is the median over the turns of the difference, of CPU time and of wall time. The probe's own account stands
beside it, and each sensor's part of that. ``off`` is what the probe costs without them: the calls, and the thread that
sends.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time

import torch

from lsmon.probe import Probe

from .workloads import Training, loss_fn, training

STEPS = 20
PAIRS = 16
TARGET = 0.02


def turn(run: Training, probe: Probe | None) -> tuple[float, float]:
    """CPU and wall seconds of 20 steps."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(STEPS):
        loss, batch = run.step()
        if probe is not None:
            probe.step(loss, batch)
    return time.process_time() - cpu, time.perf_counter() - wall


class Clock:
    """The probe's own time stands still while the other copy trains, or its allowance would be that of both."""

    def __init__(self) -> None:
        self.paused = 0.0

    def __call__(self) -> float:
        return time.monotonic() - self.paused


def compare(kind: str, pairs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LSMON_DIR"] = os.environ["LSMON_RUNTIME_DIR"] = folder
        bare, watched = training("gpt"), training("gpt")
        probe = Probe(watched.model, watched.optimizer, loss_fn, name="light", sensors=kind)
        budget, clock = probe._budget, Clock()
        budget._clock = clock
        slots = probe._instruments._slots if probe._instruments is not None else []

        def account() -> dict[str, float]:
            each = {slot.sensor.name: slot.account.spent for slot in slots}
            return each | {"calls": budget.overhead, "sending": budget.elsewhere, "elapsed": budget.elapsed}

        turn(watched, probe)
        turn(bare, None)
        before = account()
        cpu, wall = [], []
        for _ in range(pairs):
            began = time.monotonic()
            one = turn(bare, None)
            clock.paused += time.monotonic() - began
            two = turn(watched, probe)
            cpu.append(two[0] / one[0] - 1)
            wall.append(two[1] / one[1] - 1)
        after = account()
        probe.close()
    elapsed = after.pop("elapsed") - before["elapsed"]
    shares = {name: (value - before[name]) / elapsed for name, value in after.items()}
    sensors = sum(share for name, share in shares.items() if name not in ("calls", "sending"))
    spread = statistics.stdev(cpu) / len(cpu) ** 0.5 if len(cpu) > 1 else float("nan")
    print(
        f"small GPT, sensors={kind!r}, {torch.get_num_threads()} threads, {pairs} turns of {STEPS} steps of {elapsed / pairs / STEPS * 1e3:.0f} ms"
    )
    print(
        f"    the light sensors by the probe's own account: {sensors:.2%} of the wall time, at most {TARGET:.0%} is wanted"
    )
    print("    " + ", ".join(f"{name} {share:.2%}" for name, share in shares.items()))
    print(
        f"    beside a training without: CPU {statistics.median(cpu):+.2%} ± {spread:.2%}, wall {statistics.median(wall):+.2%}"
    )


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    for kind in ("off", "light"):
        compare(kind, pairs)


if __name__ == "__main__":
    main()
