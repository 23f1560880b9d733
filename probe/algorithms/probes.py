"""Random vectors with E vvᵀ = 1, the same for the same seed whatever the operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from ..operators.operator import Operator

Kind = Literal["rademacher", "gaussian"]
"""Rademacher has the smaller variance: zero where the eigenvectors are coordinates, as for dead inputs."""


def probes(operator: Operator, count: int, seed: int, kind: Kind = "rademacher") -> Iterator[Tensor]:
    """``count`` vectors (dim,) from a stream of their own; the n-th does not depend on how many are drawn."""
    generator = torch.Generator(device=operator.device).manual_seed(seed)
    for _ in range(count):
        if kind == "gaussian":
            yield torch.randn(operator.dim, device=operator.device, dtype=operator.dtype, generator=generator)
        else:
            vector = torch.empty(operator.dim, device=operator.device, dtype=operator.dtype)
            yield vector.bernoulli_(0.5, generator=generator).mul_(2).sub_(1)
