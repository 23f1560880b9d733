"""The shape of a bulk of eigenvalues, to compare with Wigner's semicircle; what else chance gives is in the protocol."""

from __future__ import annotations

import torch
from torch import Tensor

from lsmon.protocol.nulls import OUTLIERS


def bulk_kurtosis(values: Tensor, outliers: int = OUTLIERS) -> float:
    """Kurtosis of all eigenvalues (d,) but the largest ``outliers``, to compare with the semicircle's 2.0.

    Raises ValueError when no two different values are left.
    """
    bulk = torch.sort(values.double()).values[: max(0, len(values) - outliers)]
    centred = bulk - bulk.mean() if len(bulk) else bulk
    variance = float(centred.square().mean()) if len(bulk) else 0.0
    if variance <= 0:
        raise ValueError("a kurtosis needs a bulk of different eigenvalues")
    return float(centred.pow(4).mean()) / variance**2
