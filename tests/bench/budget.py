"""Whether the probe keeps to its budget on real trainings, and how often curvature then comes.

    python -m tests.bench.budget [gpt cnn …] [--seconds 120] [--budget 0.05]

Each training runs for real. Printed are the largest share of any minute (by the probe's own account, and by the wall
time seen inside its calls), the gaps between two measurements in steps, and the longest step in medians of the bare one: by
the clock, which includes what the machine took for others, and by what the calling thread ran (all of it with
``OMP_NUM_THREADS=1``).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise

from lsmon.probe import Probe
from lsmon.protocol.frames import Curvature
from lsmon.protocol.recording.reader import Recording

from .workloads import loss_fn, training

MINUTE = 60.0


@dataclass
class Seen:
    """Wall time, seconds spent since the start by the probe's account and as seen from outside, at each step."""

    wall: list[float] = field(default_factory=list)
    account: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    ran: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)


def train(name: str, seconds: float, budget: float) -> tuple[Seen, list[Curvature]]:
    run, seen = training(name), Seen()
    probe = Probe(run.model, run.optimizer, loss_fn, name=f"budget-{name}", budget=budget)
    began, outside = time.perf_counter(), 0.0
    while (now := time.perf_counter()) - began < seconds:
        loss, batch = run.step()
        before, ran = time.perf_counter(), time.thread_time()
        probe.step(loss, batch)
        after = time.perf_counter()
        seen.ran.append(time.thread_time() - ran)
        outside += after - before
        seen.bare.append(before - now)
        seen.calls.append(after - before)
        seen.wall.append(after - began)
        seen.account.append(probe.share * (after - began))
        seen.outside.append(outside)
    folder = probe._outlets.header.recording
    probe.close()
    with Recording.open(folder) as recording:
        return seen, [frame for frame in recording.frames() if isinstance(frame, Curvature)]


def worst_minute(wall: list[float], spent: list[float]) -> float:
    """Largest share of any stretch of a minute; of the whole run when it is shorter."""
    worst, start = 0.0, 0
    if wall[-1] < MINUTE:
        return spent[-1] / wall[-1]
    for now, total in zip(wall, spent, strict=True):
        while wall[start] < now - MINUTE:
            start += 1
        if now >= MINUTE:
            worst = max(worst, (total - spent[start]) / (now - wall[start]))
    return worst


def gap(frames: list[Curvature], steps: int) -> str:
    """Largest distance in steps from one measurement's snapshot to the next, and from the start to the first."""
    at = sorted({0, *(frame.step for frame in frames)})
    widest, begin = max(((b - a, a) for a, b in pairwise(at)), default=(steps, 0))
    return f"{widest:5} steps (from step {begin}; {len(frames)} in {steps}, the last of step {at[-1]})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["gpt", "cnn", "mlp"])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--budget", type=float, default=0.05)
    given = parser.parse_args()
    for name in given.names:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LSMON_DIR"] = os.environ["LSMON_RUNTIME_DIR"] = folder
            seen, frames = train(name, given.seconds, given.budget)
        spectra = [frame for frame in frames if frame.top]
        complete = [frame for frame in spectra if frame.bottom]
        median = statistics.median(seen.bare)
        by_clock, by_work = (
            sorted((median + call) / median for call in calls) for calls in (seen.calls, seen.ran)
        )
        steps = len(seen.calls)
        print(
            f"{name}: {steps} steps of {median * 1e3:.1f} ms, load {os.getloadavg()[0]:.1f}\n"
            f"  largest share of a minute   {worst_minute(seen.wall, seen.account):.2%} by its account, "
            f"{worst_minute(seen.wall, seen.outside):.2%} seen from outside\n"
            f"  sharpness at least every    {gap(spectra, steps)}, {spectra[-1].batch if spectra else 0} examples\n"
            f"  complete at least every     {gap(complete, steps)}, "
            f"{statistics.mean([frame.hvps for frame in complete] or [0]):.0f} products\n"
            f"  longest step                {by_clock[-1]:.1f} medians by the clock, {by_work[-1]:.1f} by the work in it; "
            f"99.9 % within {by_clock[int(0.999 * steps)]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
