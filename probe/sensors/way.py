"""How the parameters came from one complete measurement to the next: over negative curvature, or down a slope?

Between two measurements a whole escape from a saddle may lie. The gradient at the first, the displacement u and the two
losses say what the curvature along the straight way was in the mean: 2 (L - L₀ - ∇L₀·u) / |u|², without any product.
Where the loss is convex that is never negative.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..operators.difference import Difference
from ..operators.hessian import Hessian
from ..readings import Reading, read

SHARE = 8
"""The two vectors that are kept take at most this part of the memory allowed for a basis, but not for long."""


class _Place(NamedTuple):
    parameters: Tensor
    gradient: Tensor
    loss: Tensor
    buffers: list[Tensor]


class Way:
    """Keeps the place of the last complete measurement, two vectors of shape (dim,)."""

    def __init__(self) -> None:
        self._last: _Place | None = None

    def come(self, point: Hessian | Difference, max_bytes: int) -> Reading | None:
        """|u|², L - L₀ - ∇L₀·u, and how far the buffers moved, since the last place; ``point`` is the next one.

        None at the first, and where two vectors would take more than an eighth of ``max_bytes``.
        """
        last, snapshot = self._last, point.snapshot
        self._last = None
        if 2 * point.dim * point.gradient.element_size() * SHARE > max_bytes:
            return None
        here = _Place(
            snapshot.flat(list(snapshot.parameters.values())), point.gradient, point.loss, snapshot.buffers
        )
        self._last = here
        if last is None or len(last.buffers) != len(here.buffers):
            return None
        u = here.parameters - last.parameters
        excess = here.loss.to(u) - last.loss.to(u) - torch.dot(last.gradient.to(u), u)
        # With other running statistics, or another discriminator, it is another loss, and two of its values are not on one
        # curve.
        moved = [
            (after.to(u) - before.to(u)).abs().max()
            for before, after in zip(last.buffers, here.buffers, strict=True)
        ]
        return read(torch.stack([torch.dot(u, u), excess, torch.stack([*moved, u.new_zeros(())]).max()]))


def bend(came: Reading | None) -> tuple[float | None, float | None]:
    """|u| and the curvature along it, of a reading that is ready; two None where there is none."""
    if came is None:
        return None, None
    squared, excess, moved = came.values()
    return (squared**0.5, 2 * excess / squared) if squared > 0 and moved == 0 else (None, None)
