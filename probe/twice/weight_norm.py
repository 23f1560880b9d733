"""Weight normalisation (Salimans and Kingma 2016, eq. 2), w = g v/|v|: PyTorch's own has a wrong second derivative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .function import Asked


def weight_norm(asked: Asked, v: Any, g: Any, dim: int = 0) -> Tensor | None:
    """``torch._weight_norm``, whose ``gradgradcheck`` fails up to PyTorch 2.13, by functions that may be differentiated
    as often as wanted."""
    del asked
    if not (isinstance(v, Tensor) and isinstance(g, Tensor)):
        return None
    norm: Tensor = torch.norm_except_dim(v, 2, dim)
    return v * (g / norm)
