"""Products and CPU seconds of a complete probe, beside the libraries that people use for it.

    python -m tests.bench.curvature [mlp:mid …]        (pip install -e '.[bench]' for the peers)

A complete probe is λ_1, the five largest and λ_min, each within 1 % of a double-precision reference. Ours stops by its
own rule and knows no reference; the others get the cheapest setting, found by trying, with which they reach 1 %, and a fresh timed run with it. CPU seconds of one thread,
in one process.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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

from .workloads import STAGES, Workload, criterion, digits, loss_fn, workload

WITHIN = 1e-2
SEEDS = (0, 1, 2, 3, 4)


@dataclass
class Result:
    """λ_1 … λ_5 and λ_min (None where a tool has no such thing), and what they took."""

    top: Sequence[float]
    lowest: float | None
    hvps: int
    cpu: float


def worst(workload: Workload, result: Result) -> tuple[float, float | None]:
    """Largest relative error among the top values, and that of λ_min."""
    truth = workload.truth
    top = max(abs(a - b) / abs(b) for a, b in zip(result.top, truth.top, strict=False))
    return top, None if result.lowest is None else abs(result.lowest - truth.lowest) / abs(truth.lowest)


def good(workload: Workload, result: Result) -> bool:
    return all(error is None or error <= WITHIN for error in worst(workload, result))


def timed(act: Callable[[], Result]) -> Result:
    began = time.process_time()
    result = act()
    result.cpu = time.process_time() - began
    return result


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


def pyhessian(workload: Workload) -> Result | None:
    """Power iteration with deflation, ordered by magnitude; it has no λ_min. The loosest tolerance that suffices."""
    from pyhessian import hessian  # type: ignore[import-not-found]

    inner = sys.modules["pyhessian.hessian"]
    count = 0
    plain = inner.hessian_vector_product

    def counted(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return plain(*arguments)

    inner.hessian_vector_product = counted
    try:
        for tolerance in (1e-2, 1e-3, 1e-4):

            def run(tolerance: float = tolerance) -> Result:
                nonlocal count
                count = 0
                torch.manual_seed(0)
                values, _ = hessian(workload.model, criterion, data=workload.batch, cuda=False).eigenvalues(
                    maxIter=100, tol=tolerance, top_n=5
                )
                return Result(values, None, count, 0.0)

            result = timed(run)
            if good(workload, result):
                return result
        return None
    finally:
        inner.hessian_vector_product = plain
        for parameter in workload.model.parameters():
            parameter.grad = None


def hessian_eigenthings(workload: Workload) -> Result | None:
    """Two Lanczos runs, one an end; the fewest iterations that suffice, found from one long run."""
    from hessian_eigenthings.algorithms.lanczos import lanczos, lanczos_tridiagonal  # type: ignore[import-not-found]
    from hessian_eigenthings.operators import HessianOperator  # type: ignore[import-not-found]

    def operator() -> Any:
        return HessianOperator(workload.model, [workload.batch], loss_fn)

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(workload.dim, generator=generator)
    long = lanczos_tridiagonal(operator(), start, 64)
    matrix = torch.diag(long.alphas) + torch.diag(long.betas[:63], 1) + torch.diag(long.betas[:63], -1)
    needed = []
    for top in (True, False):
        for m in range(5, 65):
            values = torch.linalg.eigvalsh(matrix[:m, :m].double()).tolist()
            part = Result(
                values[::-1][:5] if top else workload.truth.top, values[0] if not top else None, m, 0.0
            )
            if good(workload, part):
                needed.append(m)
                break
        else:
            return None

    def run() -> Result:
        top = lanczos(operator(), k=5, max_iter=needed[0], which="LA", reorthogonalize=True, seed=0)
        low = lanczos(operator(), k=1, max_iter=needed[1], which="SA", reorthogonalize=True, seed=0)
        return Result(top.eigenvalues.tolist(), float(low.eigenvalues[0]), sum(needed), 0.0)

    return timed(run)


def curvlinops(workload: Workload) -> Result | None:
    """Its operator under scipy's eigsh, once an end; the loosest tolerance and smallest space that suffice."""
    from curvlinops import HessianLinearOperator  # type: ignore[import-not-found]
    from scipy.sparse.linalg import LinearOperator, eigsh
    from torch import nn

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = workload.model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).flatten(0, -2)  # type: ignore[no-any-return]

    inputs, targets = workload.batch
    model = Flat()
    start = torch.randn(workload.dim, generator=torch.Generator().manual_seed(0)).numpy()
    count = 0

    def end(which: str, k: int, ncv: int, tolerance: float) -> list[float]:
        plain = HessianLinearOperator(
            model, nn.CrossEntropyLoss(), list(model.parameters()), [(inputs, targets.flatten())],
            check_deterministic=False,
        ).to_scipy()  # fmt: skip

        def product(vector: Any) -> Any:
            nonlocal count
            count += 1
            return plain @ vector

        wrapped = LinearOperator(plain.shape, matvec=product, dtype=plain.dtype)
        found = eigsh(
            wrapped, k=k, which=which, ncv=ncv, tol=tolerance, v0=start, return_eigenvectors=False, maxiter=40
        )
        return sorted((float(value) for value in found), reverse=which == "LA")

    settings: list[tuple[int, float]] = []
    for which, k in (("LA", 5), ("SA", 1)):
        tried: list[tuple[int, tuple[int, float]]] = []
        for ncv in (12, 20, 40):
            count = 0
            values = end(which, k, ncv, 1e-2)
            top = values if which == "LA" else list(workload.truth.top)
            if good(workload, Result(top, values[0] if which == "SA" else None, count, 0.0)):
                tried.append((count, (ncv, 1e-2)))
        if not tried:
            return None
        settings.append(min(tried)[1])

    def run() -> Result:
        nonlocal count
        count = 0
        top = end("LA", 5, *settings[0])
        low = end("SA", 1, *settings[1])
        return Result(top, low[0], count, 0.0)

    return timed(run)


PEERS: dict[str, Callable[[Workload], Result | None]] = {
    "pyhessian": pyhessian,
    "hessian_eigenthings": hessian_eigenthings,
    "curvlinops": curvlinops,
}


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
    for name, run in PEERS.items():
        if importlib.util.find_spec(name) is None:
            print(f"  {name:28}not installed")
            continue
        with sdpa_kernel(SDPBackend.MATH):
            result = run(workload)
        if result is None:
            print(f"  {name:28}does not reach 1 %")
        else:
            print(said(name, result, workload, f"lsmon takes {cpu / result.cpu:.0%} of its CPU time"))


def main(wanted: Sequence[str] = ()) -> None:
    torch.set_num_threads(1)
    print(f"digits: {digits()[1]}; scalar precision: float32; reference: ARPACK in float64")
    totals: list[int] = []
    for name in ("mlp", "cnn", "gpt"):
        for stage in STAGES:
            if not wanted or f"{name}:{stage}" in wanted:
                compare(workload(name, stage), totals)
    print(f"\ncomplete probe: {statistics.mean(totals):.1f} HVPs on average, {max(totals)} at worst")


if __name__ == "__main__":
    main(sys.argv[1:])
