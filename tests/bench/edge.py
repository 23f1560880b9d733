"""How late the edge of stability is told by a real probe, against the crossing of a twin that is measured every ten steps.

    python -m tests.bench.edge [--budget 0.05 0.2 1.0] [--steps 1500]

Full-batch training on digits, squared error: gradient descent, Nesterov, and Adam with its own edge. How often the sharpness
can be measured is the budget's affair, and the machine's: a look takes ten steps' time, which 5 % pay in 200.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lsmon.probe import Probe
from lsmon.protocol.frames import Scalars
from lsmon.protocol.recording.reader import Recording

from ..trainings import Batch, Sharpness, squares
from .workloads import digits

MAKERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "gradient descent 0.15": lambda p: torch.optim.SGD(p, 0.15),
    "Nesterov 0.06 / 0.9": lambda p: torch.optim.SGD(p, 0.06, momentum=0.9, nesterov=True),
    "Adam 0.01": lambda p: torch.optim.Adam(p, 0.01),
}
STARTED = 30
"""Adam's first steps have no metric worth the name."""


def ratios(make: Callable[[Any], torch.optim.Optimizer], data: Batch, steps: int, budget: float | None) -> tuple[list[tuple[int, float]], list[tuple[int, str]]]:  # fmt: skip
    """The ratio to the edge at the steps where it was measured, and the regime's words; every ten steps without a budget."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 10))
    optimizer = make(model.parameters())
    sensors: Any = "default" if budget else [Sharpness(10)]
    probe = Probe(model, optimizer, squares, budget=budget or 1.0, reference=data, sensors=sensors)
    folder = Path(probe._outlets.header.recording)
    for _ in range(steps):
        loss = squares(model, data)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        probe.step(loss.detach(), data)
    probe.close()
    found: list[tuple[int, float]] = []
    words: list[tuple[int, str]] = []
    with Recording.open(folder) as recording:
        for frame in recording.frames():
            if isinstance(frame, Scalars) and "stability/ratio" in frame.values:
                found.append((frame.step, frame.values["stability/ratio"]))
            if isinstance(frame, Scalars) and "regime" in frame.words:
                words.append((frame.step, frame.words["regime"]))
    return found, words


def crossing(seen: list[tuple[int, float]]) -> int | None:
    """The first step beyond the edge, by a line between two measurements."""
    for (then, before), (step, ratio) in pairwise(seen):
        if step > STARTED and ratio >= 1.0:
            left = (1.0 - before) / (ratio - before) if before < 1.0 else 0.0
            return then + math.ceil(left * (step - then))
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", type=float, nargs="*", default=[0.05, 0.2, 1.0])
    parser.add_argument("--steps", type=int, default=1500)
    given = parser.parse_args()
    torch.set_num_threads(1)
    (images, labels), source = digits()
    data = images[:512].reshape(-1, 64), labels[:512]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LSMON_DIR"] = os.environ["LSMON_RUNTIME_DIR"] = folder
        print(f"{source}, 512 images at every step, {given.steps} steps")
        for name, make in MAKERS.items():
            seen, _ = ratios(make, data, given.steps, None)
            crossed = crossing(seen)
            print(f"{name}: crosses at step {crossed}; at the end {seen[-1][1]:.2f}")
            for budget in given.budget:
                measured, words = ratios(make, data, given.steps, budget)
                told = next((step for step, each in words if each.startswith("edge of stability")), None)
                late = (
                    f"{told - crossed:+d} steps" if told is not None and crossed is not None else "not told"
                )
                print(f"    budget {budget:4.0%}  told at {told}, {late}; {len(measured)} ratios", flush=True)


if __name__ == "__main__":
    main()
