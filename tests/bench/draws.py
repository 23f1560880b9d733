"""Whether the stopping rule keeps its word on networks that it was not chosen on.

    python -m tests.bench.draws [mlp cnn gpt] [--first 100] [--count 4]

Other initialisations of the three networks, at the start and a little later, where eigenvalues lie closest. Of every
measurement: its products, its largest error against a Krylov space of 90 products, and whether what it calls converged
is within 1 % and every value within its residual.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator

import torch

from lsmon.probe.algorithms.ends import Extremes
from lsmon.probe.algorithms.lanczos import lanczos
from lsmon.probe.measurement import at_once
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.reference import Reference
from lsmon.probe.sensors.curvature import MAX_MEMORY
from lsmon.probe.survey import MOST, sharpest

from .curvature_peers import WITHIN
from .workloads import loss_fn, training

STEPS = (0, 10, 60, 200)
LONG = 90
STARTS = (0, 1)


def points(name: str, seed: int) -> Iterator[tuple[int, Hessian]]:
    run, done = training(name, seed), 0
    for step in STEPS:
        for _ in range(step - done):
            run.step()
        done = step
        yield step, Hessian(run.model, loss_fn, Reference(run.reference))


def errors(found: Extremes, truth: Extremes, complete: bool) -> tuple[float, bool]:
    """The largest relative error, and whether every value is within its residual."""
    pairs = list(zip(found.top if complete else found.top[:1], truth.top, strict=False))
    if complete:
        pairs.append((found.bottom[0], truth.bottom[0]))
    rounding = 1e-5 * abs(truth.top[0].value)
    return (
        max(abs(ours.value / true.value - 1) for ours, true in pairs),
        all(abs(ours.value - true.value) <= ours.residual + rounding for ours, true in pairs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["mlp", "cnn", "gpt"])
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--count", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    tally: dict[str, list[tuple[int, bool, float, bool]]] = {"complete": [], "λ_1 alone": []}
    for name in given.names:
        for seed in range(given.first, given.first + given.count):
            for step, point in points(name, seed):
                long = at_once(lanczos(point, accuracy=0, max_products=LONG, known=point.gradient, seed=9))
                said = []
                for start in STARTS:
                    both = at_once(lanczos(point, max_products=MOST, known=point.gradient, seed=start))
                    alone = at_once(sharpest(point, start, MAX_MEMORY))
                    for kind, found in (("complete", both), ("λ_1 alone", alone)):
                        worst, bounded = errors(found.extremes, long.extremes, kind == "complete")
                        tally[kind].append((found.extremes.hvps, found.stopped, worst, bounded))
                        said.append(
                            f"{kind} {found.extremes.hvps:2} {worst:.0e}"
                            f"{'' if found.stopped else ', not converged'}{'' if bounded else ', BEYOND ITS RESIDUALS'}"
                        )
                print(f"{name} {seed}, step {step:3}: {'; '.join(said)}", flush=True)
    for kind, runs in tally.items():
        products = [hvps for hvps, *_ in runs]
        stopped = [worst for _, converged, worst, _ in runs if converged]
        print(
            f"{kind}: {len(runs)} runs, {statistics.mean(products):.1f} products on average, {max(products)} at most; "
            f"{len(stopped)} call themselves converged, {sum(worst > WITHIN for worst in stopped)} of these are more than "
            f"1 % off (worst {max(stopped, default=0.0):.1%}); beyond their residuals: {sum(not ok for *_, ok in runs)}"
        )


if __name__ == "__main__":
    main()
