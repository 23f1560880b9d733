"""The Hessian as the optimizer sees it: P^½ H P^½, the metric P = diag(1/(√v̂ + ε)) for Adam.

Its largest eigenvalue, not that of H, is what an adaptive optimizer's edge of stability limits (Cohen et al. 2022,
Adaptive Gradient Methods at the Edge of Stability).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .operator import Landscape


class Preconditioned:
    """R (H + κI) R with R = diag(``root``), κ the coupled weight decay; as dear as a product with H.

    ``root`` (dim,) is √P at the step of the snapshot; zero for what the optimizer does not move.
    """

    def __init__(self, operator: Landscape, root: Tensor, decay: Tensor | float = 0.0) -> None:
        if root.shape != (operator.dim,):
            raise ValueError(f"the metric has {root.numel()} entries for {operator.dim} parameters")
        self._operator = operator
        self._root = root.detach().to(operator.device, operator.dtype)
        self._decay = decay
        self.dim, self.device, self.dtype = operator.dim, operator.device, operator.dtype

    @property
    def gradient(self) -> Tensor:
        """Of the loss alone, where a step of the optimizer is one of gradient descent."""
        return self._root * self._operator.gradient.to(self._root)

    @property
    def doubt(self) -> Tensor | None:
        """Of the products with H, relative to the largest, where they are differences."""
        doubt: Tensor | None = getattr(self._operator, "doubt", None)
        return doubt

    def matvec(self, vector: Tensor) -> Tensor:
        """P^½(H + κI)P^½ v for v of shape (dim,)."""
        inner = self._root * vector
        return self._root * (self._operator.matvec(inner) + torch.as_tensor(self._decay).to(inner) * inner)
