"""Products and CPU seconds of a complete probe, beside the libraries that people use for it.

    python -m tests.bench.curvature [mlp:mid …]        (pip install -e '.[bench]' for the peers)

A complete probe is λ_1, the five largest and λ_min, each within 1 % of a double-precision reference. Ours stops by its
own rule and knows no reference. The others get the cheapest setting, found by trying against the reference, with which
they reach 1 %, and the cheapest with which they are as accurate as ours was; each is then timed in a fresh run. CPU
seconds of one thread, in one process.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Sequence

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # else scipy's BLAS takes the second core

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from lsmon.probe.algorithms.lanczos import Krylov, lanczos
from lsmon.probe.measurement import at_once
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.reference import Reference
from lsmon.probe.sensors.curvature import MAX_MEMORY
from lsmon.probe.survey import MOST, sharpest

from .curvature_peers import PEERS, Bar, Result, worst
from .workloads import STAGES, Workload, digits, loss_fn, workload

SEEDS = (0, 1, 2, 3, 4)
FINEST = 1e-4
"""Better than this nobody is asked to be: the peers' products are in float32 too."""


def ours(workload: Workload, seed: int, complete: bool = True) -> tuple[Result, Krylov]:
    """From nothing: the snapshot and the gradient's graph are part of it."""
    began = time.process_time()
    point = Hessian(workload.model, loss_fn, Reference(workload.batch))
    found = at_once(
        lanczos(point, max_products=MOST, known=point.gradient, seed=seed)
        if complete
        else sharpest(point, seed, MAX_MEMORY)
    )
    extremes = found.extremes
    top = [ritz.value for ritz in (extremes.top if complete else extremes.top[:1])]
    lowest = extremes.bottom[0].value if complete else None
    return Result(top, lowest, extremes.hvps, time.process_time() - began), found


def bounded(workload: Workload, found: Krylov, complete: bool) -> bool:
    """Every value's true error is below the residual that is reported with it."""
    extremes, truth = found.extremes, workload.truth
    pairs = list(zip(extremes.top[: 5 if complete else 1], truth.top, strict=False))
    if complete:
        pairs.append((extremes.bottom[0], truth.lowest))
    return all(abs(ritz.value - value) <= ritz.residual + 1e-5 * abs(truth.top[0]) for ritz, value in pairs)


def product_cost(workload: Workload) -> float:
    """CPU time of one product in gradients (forward and backward), medians of interleaved runs."""
    reference = Reference(workload.batch)
    point = Hessian(workload.model, loss_fn, reference)
    vector = torch.randn(point.dim)
    products, gradients = [], []
    parameters = list(workload.model.parameters())
    for _ in range(9):
        began = time.process_time()
        point.matvec(vector)
        between = time.process_time()
        torch.autograd.grad(loss_fn(workload.model, workload.batch), parameters)
        products.append(between - began)
        gradients.append(time.process_time() - between)
    return statistics.median(products) / statistics.median(gradients)


def said(title: str, result: Result, workload: Workload, rest: str = "") -> str:
    top, low = worst(workload, result)
    lowest = "    none" if low is None else f"{low:8.1e}"
    return f"  {title:28}{result.hvps:5} HVPs {result.cpu:7.2f} s   error {top:8.1e} {lowest}   {rest}"


def compare(workload: Workload, totals: list[int]) -> None:
    print(f"\n{workload.name}   d = {workload.dim}   one product = {product_cost(workload):.2f} gradients")
    runs = [ours(workload, seed) for seed in SEEDS]
    totals += [result.hvps for result, _ in runs]
    for (result, found), seed in zip(runs, SEEDS, strict=True):
        kept = "within its residuals" if bounded(workload, found, True) else "BEYOND ITS RESIDUALS"
        kept += "" if found.stopped else ", says it is not converged"
        print(said(f"lsmon, seed {seed}", result, workload, kept))
    alone = [ours(workload, seed, complete=False) for seed in SEEDS]
    hvps = ", ".join(str(result.hvps) for result, _ in alone)
    errors = ", ".join(f"{worst(workload, result)[0]:.1e}" for result, _ in alone)
    print(f"  {'lsmon, λ_1 alone':28}{hvps} HVPs, error {errors}")
    cpu = statistics.median(result.cpu for result, _ in runs)
    tops, lows = zip(*(worst(workload, result) for result, _ in runs), strict=True)
    equal = Bar(
        max(FINEST, statistics.median(tops)), max(FINEST, statistics.median(low or 0.0 for low in lows))
    )
    for name, run in PEERS.items():
        if importlib.util.find_spec(name) is None:
            print(f"  {name:28}not installed")
            continue
        for bar, words in ((Bar(), "1 %"), (equal, "ours")):
            with sdpa_kernel(SDPBackend.MATH):
                result = run(workload, bar)
            if result is None:
                print(f"  {f'{name}, {words}':28}does not reach that")
            else:
                part = f"lsmon takes {cpu / result.cpu:.0%} of its CPU time"
                print(said(f"{name}, {words}", result, workload, part))


def main(wanted: Sequence[str] = ()) -> None:
    """Of the workloads "mlp:init" to "gpt:end" those that are named, or all."""
    every = [f"{name}:{stage}" for name in ("mlp", "cnn", "gpt") for stage in STAGES]
    if set(wanted) - set(every):
        sys.exit(f"{main.__doc__} They are {', '.join(every)}.")
    torch.set_num_threads(1)
    print(f"digits: {digits()[1]}; scalar precision: float32; reference: ARPACK in float64")
    totals: list[int] = []
    for each in wanted or every:
        compare(workload(*each.split(":")), totals)
    print(f"\ncomplete probe: {statistics.mean(totals):.1f} HVPs on average, {max(totals)} at worst")


if __name__ == "__main__":
    main(sys.argv[1:])
