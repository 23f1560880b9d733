"""d: the entries of the parameters that ever had a gradient; frozen and dead ones are no degrees of freedom."""

from __future__ import annotations

import torch
from torch import Tensor

LIVE_EVERY = 8
"""Comparisons from one count of live entries to the next: it changes slowly and costs as much as the rest."""


class LiveEntries:
    """Counted on the device, every eighth time that it is asked."""

    def __init__(self) -> None:
        self._seen: dict[int, Tensor] = {}  # parameter → which of its entries
        self._count = torch.zeros(())
        self._asked = 0

    def count(self, parameters: list[Tensor], gradients: list[Tensor]) -> Tensor:
        """Shape (), float64, with the gradients of this update."""
        self._asked += 1
        if self._asked % LIVE_EVERY != 1:
            return self._count
        home = gradients[0].device
        for parameter, gradient in zip(parameters, gradients, strict=True):
            now = gradient != 0
            known = self._seen.get(id(parameter))
            self._seen[id(parameter)] = now if known is None else known.logical_or_(now)
        self._count = torch.stack([mask.sum().to(home) for mask in self._seen.values()]).sum().double()
        return self._count

    def forget(self) -> None:
        self._seen = {}
