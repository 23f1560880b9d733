"""One rank of a training that several processes share: only the first has a sensor, and what it read is printed.

python -m tests.ranks RANK STORE
"""

from __future__ import annotations

import json
import math
import os
import sys
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.sensor import Context, Sensor
from lsmon.probe.sensors.temperature import Temperature
from lsmon.probe.subject import averaging, unwrap

RANKS = 2
DIM = 100
NOISE = 0.5
"""Variance of what the optimizer consumes, in each direction."""
CASES = {
    "average": (1, False),
    "average of two": (2, False),
    "average of two, in buckets": (2, True),
    "sum": (1, False),
    "alone": (1, False),
}
"""Backward passes of each rank, and whether its gradients are views of what is sent."""


class Tilt(nn.Module):
    """x·ξ: the gradient is the noise ξ that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(DIM))

    def forward(self, noise: Tensor) -> Tensor:
        return (self.x * noise).sum()


def train(case: str, rank: int, steps: int = 110) -> dict[str, Any]:
    parts, views = CASES[case]
    model: Any = Tilt()
    if case.startswith("average"):
        model = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=views)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    context = Context(unwrap(model), optimizer, group=averaging(model), examples=None)
    sensors: list[Sensor] = [Temperature()] if rank == 0 else []
    found: list[Any] = []
    instruments = Instruments(sensors, context, Budget(1.0), Guard(strict=True), found.append)
    together = {"sum": 1 / RANKS, "alone": 1.0}.get(case, RANKS)
    generator = torch.Generator().manual_seed(rank)
    for step in range(steps):
        for part in range(parts):
            noise = math.sqrt(NOISE * parts * together) * torch.randn(DIM, generator=generator)
            apart: Any = getattr(model, "no_sync", nullcontext) if part + 1 < parts else nullcontext
            with apart():
                torch.autograd.backward(model(noise) / parts)
        if case == "sum":
            torch.distributed.all_reduce(model.x.grad)
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, torch.zeros(8, 1))
    instruments.close()
    last = [frame for frame in found if "temperature/noise" in frame.values][-1:]
    return {
        "case": case,
        "ended": next(unwrap(model).parameters()).tolist(),
        "values": last[0].values if last else {},
        "errors": last[0].errors if last else {},
        "words": last[0].words if last else {},
    }


def main() -> None:
    rank, store = int(sys.argv[1]), sys.argv[2]
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    for case in CASES:
        print(json.dumps(train(case, rank)), flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
