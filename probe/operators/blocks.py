"""The Hessian of one layer: the block on the diagonal that belongs to a module's own parameters.

Its λ_max says which layer is sharp. On the kept graph a product runs backward only through the part between the
layer's gradient and its parameters, so it is cheaper than one with the whole.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .difference import Difference
from .hessian import Hessian


def owner(name: str) -> str:
    """The module that owns the parameter: ``blocks.0.attn`` for ``blocks.0.attn.weight``."""
    return name.rpartition(".")[0]


class Block:
    """H restricted to the parameters ``rows`` (positions in ``names``) of the whole operator; an Operator itself."""

    def __init__(self, whole: Hessian | Difference, rows: list[int]) -> None:
        copies = list(whole.snapshot.parameters.values())
        self._whole, self._rows = whole, rows
        self._shapes = [copies[row].shape for row in rows]
        self._sizes = [shape.numel() for shape in self._shapes]
        self.dim, self.device, self.dtype = sum(self._sizes), whole.device, whole.dtype

    @property
    def gradient(self) -> Tensor:
        pieces = self._whole.snapshot.pieces(self._whole.gradient)
        return torch.cat([pieces[row].reshape(-1).to(self.device, self.dtype) for row in self._rows])

    def matvec(self, vector: Tensor) -> Tensor:
        """The block times v of shape (dim,)."""
        parts = torch.split(vector, self._sizes)
        pieces = [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]
        if isinstance(self._whole, Hessian):
            products = self._whole.products(self._rows, pieces)
        else:
            whole = self._whole.snapshot
            spread: list[Tensor | None] = [None] * len(self._whole.names)
            for row, piece in zip(self._rows, pieces, strict=True):
                spread[row] = piece
            product = whole.pieces(self._whole.product(whole.flat(spread), self._whole.step))
            products = [product[row] for row in self._rows]
        return torch.cat(
            [
                torch.zeros(size, device=self.device, dtype=self.dtype)
                if product is None
                else product.detach().reshape(-1).to(self.device, self.dtype)
                for product, size in zip(products, self._sizes, strict=True)
            ]
        )


def blocks(whole: Hessian | Difference, layer: Callable[[str], str] = owner) -> dict[str, Block]:
    """Layer → its block, in the order of the model; ``layer`` gives the layer of a parameter's name.

    A layer whose parameters have no entries (an adapter of rank 0) has no block.
    """
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(whole.names):
        rows.setdefault(layer(name), []).append(row)
    found = {name: Block(whole, chosen) for name, chosen in rows.items()}
    return {name: block for name, block in found.items() if block.dim}
