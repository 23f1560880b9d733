"""Trains the corpus anew: ``python -m tests.corpus.make [NAME ...]``, names or their beginnings; all without any.

Half an hour on one core. The numbers are the same on the same build of torch.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module

import torch

from .recorder import Recorded
from .truth import from_plateaus, from_spikes

PARTS = (
    "saddles",
    "tensors",
    "networks",
    "arithmetic",
    "ordinary",
    "language",
    "faults",
    "edges",
    "breakdowns",
    "setbacks",
    "balances",
    "fresh_products",
    "fresh_students",
    "fresh_answers",
    "fresh_healthy",
    "fresh_faults",
)


def main(wanted: list[str]) -> int:
    torch.set_num_threads(1)
    for part in PARTS:
        for make in import_module(f"tests.corpus.{part}").runs():
            name: str = make.__name__
            if wanted and not any(name.startswith(start) for start in wanted):
                continue
            began = time.perf_counter()
            run = make()
            if len(run.attempts) == 1:  # a matter of the loss alone, so the same for all
                rows = run.attempts[0]
                found = Recorded(rows["scalars"], rows["curvature"])
                run.events += from_plateaus(found)
                told = {event.kind for event in run.events if not event.optional}
                run.events += [event for event in from_spikes(found) if event.kind not in told]
            run.save()
            events = ", ".join(
                f"{event.kind} {event.onset}/{event.step}/{event.until}" for event in run.events
            )
            print(f"{name:22} {run.steps:6} steps {time.perf_counter() - began:6.1f} s  {events}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
