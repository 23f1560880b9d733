"""What ``probe.step`` costs the training thread, and what the probe costs a small training as a whole.

python -m tests.bench.step_cost
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lsmon.probe import Probe

CALLS = 20_000
WORK_SECS = 0.5e-3  # between two calls of the paced loop: a fast training step; the sending thread can follow
STEPS = 4000

Batch = tuple[Tensor, Tensor]


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def cost(call: Callable[[float], None], calls: int, pause: float) -> list[float]:
    """Seconds of each call, in a loop that works ``pause`` seconds between two."""
    taken = []
    for index in range(calls):
        until = time.perf_counter() + pause
        while time.perf_counter() < until:
            pass
        began = time.perf_counter()
        call(1.0 / (index + 1))
        taken.append(time.perf_counter() - began)
    return taken


def said(title: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    median, p99 = statistics.median(ordered), ordered[int(0.99 * len(ordered))]
    return f"{title:54} median {median * 1e6:7.2f} µs   p99 {p99 * 1e6:8.2f} µs   max {ordered[-1] * 1e3:6.2f} ms"


def train(budget: float | None, steps: int = STEPS) -> tuple[float, float, list[float]]:
    """CPU seconds a step (all threads: wall time would show the machine's other work), the share that the probe says
    it cost, and the wall seconds of each ``step`` call."""
    torch.manual_seed(0)
    inputs, labels = torch.randn(4096, 64), torch.randint(0, 10, (4096,))
    model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 128), nn.GELU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    probe = None if budget is None else Probe(model, optimizer, loss_fn, name="step-cost", budget=budget)
    taken, share = [], 0.0
    began = time.process_time()
    for _ in range(steps):
        rows = torch.randint(0, 4096, (128,))
        batch = inputs[rows], labels[rows]
        loss = loss_fn(model, batch)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if probe is not None:
            before = time.perf_counter()
            probe.step(loss, batch)
            taken.append(time.perf_counter() - before)
    total = time.process_time() - began
    if probe is not None:
        share = probe.share
        probe.close()
    return total / steps, share, taken


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LSMON_DIR"] = os.environ["LSMON_RUNTIME_DIR"] = folder
        with Probe(name="step-cost") as probe:
            print(said("step(loss), no model, hot loop", cost(probe.step, CALLS, 0.0)))
        with Probe(name="step-cost") as probe:
            print(
                said("step(loss), no model, 0.5 ms of work between", cost(probe.step, CALLS // 4, WORK_SECS))
            )
        os.environ["LSMON"] = "0"
        with Probe(name="step-cost") as probe:
            print(said("step(loss), LSMON=0", cost(probe.step, CALLS, 0.0)))
        del os.environ["LSMON"]
        bare, _, _ = train(None)
        for budget in (0.0, 0.05, 0.2):
            each, share, taken = train(budget)
            title = f"step(loss, batch), MLP of 50 826, budget {budget:.0%}"
            print(said(title, taken))
            print(
                f"    CPU a step {bare * 1e3:.3f} ms without, {each * 1e3:.3f} ms with the probe: {each / bare - 1:+.1%};"
                f" the probe says {share:.1%} of the wall time"
            )


if __name__ == "__main__":
    main()
