"""What every algorithm takes: a symmetric matrix of which only products are known."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Operator(Protocol):
    """Symmetric, ``dim`` × ``dim``; its vectors live on ``device`` in ``dtype``."""

    @property
    def dim(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...

    def matvec(self, vector: Tensor) -> Tensor:
        """The product with a vector of shape (dim,)."""
        ...


class Landscape(Operator, Protocol):
    """The curvature of a loss at a point, where the gradient is known too."""

    @property
    def gradient(self) -> Tensor:
        """(dim,), in the coordinates of the operator."""
        ...
