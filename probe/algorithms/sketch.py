"""A count-sketch: a few hundred numbers from which distances between parameter vectors are known to some percent.

Each coordinate goes with a random sign into one of ``width`` buckets (Charikar, Chen & Farach-Colton 2002), so that
E |sketch(x) - sketch(y)|² = |x - y|², with a relative deviation of √(2/width) at most. Signs come from one block that is
used again at random offsets: the memory does not grow with the model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 1 << 18
"""Signs that are kept: a megabyte. Longer tensors are taken in pieces."""


class Sketch:
    """Linear, and the same for the same seed."""

    def __init__(self, width: int = 256, seed: int = 0) -> None:
        self.width = width
        self._seed = seed
        self._signs: dict[torch.device, Tensor] = {}

    def of(self, tensors: Sequence[Tensor]) -> Tensor:
        """Shape (width,), float64, on the device of the first tensor."""
        draw = random.Random(self._seed)
        home = tensors[0].device
        total = torch.zeros(self.width, dtype=_widest(home), device=home)
        for tensor in tensors:
            signs = self._block(tensor.device)
            real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
            for piece in torch.split(real.detach().reshape(-1), BLOCK):
                offset, turn = draw.randrange(BLOCK), draw.randrange(self.width)
                signed = piece.to(total.dtype) * signs[offset : offset + len(piece)].to(total.dtype)
                rows = -(-len(piece) // self.width)
                padded = torch.nn.functional.pad(signed, (0, rows * self.width - len(piece)))
                total += padded.view(rows, self.width).sum(0).roll(turn).to(home)
        return total

    def _block(self, device: torch.device) -> Tensor:
        if device not in self._signs:
            generator = torch.Generator().manual_seed(self._seed)
            signs = torch.randint(0, 2, (BLOCK,), generator=generator, dtype=torch.int8) * 2 - 1
            self._signs[device] = torch.cat([signs, signs]).to(device, non_blocking=True)
        return self._signs[device]


def _widest(device: torch.device) -> torch.dtype:
    """The distance is a small difference of large numbers."""
    return torch.float32 if device.type == "mps" else torch.float64
