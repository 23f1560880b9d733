"""The libraries that people use for curvature, each at the cheapest setting, found by trying, that is accurate enough.

What they find is compared with the truth while trying, which nobody has who uses them: no peer can be cheaper.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from .workloads import Workload, criterion, loss_fn

WITHIN = 1e-2


@dataclass
class Result:
    """λ_1 … λ_5 and λ_min (None where a tool has no such thing), and what they took."""

    top: Sequence[float]
    lowest: float | None
    hvps: int
    cpu: float


@dataclass(frozen=True)
class Bar:
    """Largest relative errors that will do, of the top values and of λ_min."""

    top: float = WITHIN
    lowest: float = WITHIN

    def passed(self, workload: Workload, result: Result) -> bool:
        top, lowest = worst(workload, result)
        return top <= self.top and (lowest is None or lowest <= self.lowest)


def worst(workload: Workload, result: Result) -> tuple[float, float | None]:
    """Largest relative error among the top values, and that of λ_min."""
    truth = workload.truth
    top = max(abs(a - b) / abs(b) for a, b in zip(result.top, truth.top, strict=False))
    return top, None if result.lowest is None else abs(result.lowest - truth.lowest) / abs(truth.lowest)


def timed(act: Callable[[], Result]) -> Result:
    began = time.process_time()
    result = act()
    result.cpu = time.process_time() - began
    return result


def pyhessian(workload: Workload, bar: Bar) -> Result | None:
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
            if bar.passed(workload, result):
                return result
        return None
    finally:
        inner.hessian_vector_product = plain
        for parameter in workload.model.parameters():
            parameter.grad = None


def hessian_eigenthings(workload: Workload, bar: Bar) -> Result | None:
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
            if bar.passed(workload, part):
                needed.append(m)
                break
        else:
            return None

    def run() -> Result:
        top = lanczos(operator(), k=5, max_iter=needed[0], which="LA", reorthogonalize=True, seed=0)
        low = lanczos(operator(), k=1, max_iter=needed[1], which="SA", reorthogonalize=True, seed=0)
        return Result(top.eigenvalues.tolist(), float(low.eigenvalues[0]), sum(needed), 0.0)

    return timed(run)


def curvlinops(workload: Workload, bar: Bar) -> Result | None:
    """Its operator under scipy's eigsh, once an end; the loosest tolerance and smallest space that suffice."""
    from curvlinops import HessianLinearOperator  # type: ignore[import-not-found]
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
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

        def counted(vector: Any) -> Any:
            nonlocal count
            count += 1
            return plain @ vector

        wrapped = LinearOperator(plain.shape, matvec=counted, dtype=plain.dtype)
        found = eigsh(
            wrapped, k=k, which=which, ncv=ncv, tol=tolerance, v0=start, return_eigenvectors=False, maxiter=40
        )
        return sorted((float(value) for value in found), reverse=which == "LA")

    settings: list[tuple[int, float]] = []
    for which, k in (("LA", 5), ("SA", 1)):
        tried: list[tuple[int, tuple[int, float]]] = []
        for ncv, tolerance in product((12, 20, 40), (1e-2, 1e-3)):
            count = 0
            try:
                values = end(which, k, ncv, tolerance)
            except ArpackNoConvergence:
                continue
            top = values if which == "LA" else list(workload.truth.top)
            if bar.passed(workload, Result(top, values[0] if which == "SA" else None, count, 0.0)):
                tried.append((count, (ncv, tolerance)))
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


PEERS: dict[str, Callable[[Workload, Bar], Result | None]] = {
    "pyhessian": pyhessian,
    "hessian_eigenthings": hessian_eigenthings,
    "curvlinops": curvlinops,
}
