"""Made-up layers and a made-up spectrum of known shape: what their pages are tested and looked at with."""

from __future__ import annotations

import math

from lsmon.protocol.frames import Curvature, Layers, Ritz


def scale(count: int = 9, *, slope: float = 0.3, seq: int = 2, step: int = 120) -> Layers:
    """Activations that grow by ``slope`` dex a layer, gradients that are level, more dead units with depth."""
    return Layers(
        seq=seq, step=step, names=tuple(f"blocks.{i}.linear" for i in range(count)),
        values={
            "activation": tuple(10.0 ** (slope * i - 1) for i in range(count)),
            "gradient": tuple(1e-6 * (1 + 0.1 * (i % 2)) for i in range(count)),
            "dead": tuple(i / (4 * count) for i in range(count)),
        },
    )  # fmt: skip


def sharpness(count: int = 9, *, seq: int = 3, step: int = 100) -> Layers:
    names = tuple(f"blocks.{i}.linear" for i in range(count))
    return Layers(
        seq=seq, step=step, names=names, values={"hessian/max": tuple(1.0 + i for i in range(count))}
    )


def ends(*, seq: int = 4, step: int = 140) -> Curvature:
    return Curvature(
        seq=seq, step=step, top=(Ritz(40.0, 0.1, True), Ritz(21.0, 0.2, True), Ritz(9.0, 2.0)),
        bottom=(Ritz(-4.0, 0.05, True), Ritz(-2.5, 0.4, True)), negative_at_least=2, lanczos_steps=32, batch=512,
        parameters=10_000,
    )  # fmt: skip


def density(*, seq: int = 5, step: int = 150) -> Curvature:
    """A bulk of width 1 at zero, and one eigenvalue in 10 000 at each of 40 and 21."""
    grid = [-5 + 0.5 * i for i in range(101)]
    mass = [
        math.exp(-((x) ** 2) / 2) + 2.5e-4 * sum(math.exp(-((x - at) ** 2)) for at in (40, 21)) for x in grid
    ]
    total = math.fsum(mass)
    return Curvature(
        seq=seq, step=step, density_grid=tuple(grid), density_mass=tuple(m / total for m in mass),
        negative_fraction=0.31, negative_fraction_se=0.02, zero_fraction=0.25, zero_fraction_se=0.02,
        fraction_tolerance=0.01, resolution=0.008, trace=612.0, trace_se=9.0, batch=512, parameters=10_000,
        method="quadrature 4 x 32, double backward",
    )  # fmt: skip
