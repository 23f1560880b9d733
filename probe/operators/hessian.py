"""The Hessian of the loss on the reference batch, as an operator: products with vectors, no matrix.

Double backward on a snapshot (Pearlmutter 1994). The graph of the gradient is built once and kept for all products of
a measurement, so that a product costs two gradients instead of three, and it is built on copies of the parameters, so
that the training may go on between two products.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..twice.mode import CheaplyTwice
from .callbacks import watched
from .snapshot import NOTHING_TO_DIFFERENTIATE, Examples, LossFn, Snapshot, dense


class Hessian:
    """∇²L at the parameters that the model has now; ``dim`` × ``dim``, symmetric up to rounding.

    Raises ValueError when ``loss_fn`` gives no scalar that depends on the model's parameters, and whatever a model
    raises that cannot be differentiated twice.
    """

    error: Tensor | None = None
    """Nothing is neglected: a product is exact up to rounding."""

    def __init__(self, model: nn.Module, loss_fn: LossFn, reference: Examples) -> None:
        self.snapshot = Snapshot(model, loss_fn, reference, twice=True)
        self._leaves = {name: copy.requires_grad_() for name, copy in self.snapshot.parameters.items()}
        wanted = list(self._leaves.values())

        def build() -> tuple[Tensor, Sequence[Tensor | None]]:
            with CheaplyTwice(unless=lambda: callbacks.hooks):
                loss = torch.stack([term.to(self.device) for term in self.snapshot.terms()]).sum()
            return loss, self.snapshot.derivatives(loss, wanted, kept=True)

        self.dim, self.device, self.dtype = self.snapshot.dim, self.snapshot.device, self.snapshot.dtype
        with watched() as callbacks:
            loss, gradients = self.snapshot.inside(self._leaves, build)
        if all(gradient is None for gradient in gradients):
            raise ValueError(NOTHING_TO_DIFFERENTIATE)
        self._gradients = [
            None if gradient is None or not gradient.requires_grad else dense(gradient)
            for gradient in gradients
        ]
        """With their graph; None for a constant one, whose rows of the Hessian are zero."""
        self._callbacks = callbacks.any(gradient for gradient in self._gradients if gradient is not None)
        self.loss: Tensor = loss.detach()
        self.gradient: Tensor = self.snapshot.flat(gradients)
        self.grad_norm: Tensor = torch.linalg.vector_norm(self.gradient)

    @property
    def names(self) -> list[str]:
        """The parameters, in their order in a vector."""
        return list(self._leaves)

    def matvec(self, vector: Tensor) -> Tensor:
        """H·v for v of shape (dim,)."""
        return self.snapshot.flat(self.products(list(range(len(self._leaves))), self.snapshot.pieces(vector)))

    def products(self, rows: Sequence[int], pieces: Sequence[Tensor]) -> list[Tensor | None]:
        """The block of H that belongs to some parameters, times their pieces; None where it is zero."""
        wanted = list(self._leaves.values())
        inputs = [wanted[row] for row in rows]
        outputs: list[Tensor] = []
        weights: list[Tensor] = []
        for row, piece in zip(rows, pieces, strict=True):
            gradient = self._gradients[row]
            if gradient is not None:
                outputs.append(gradient)
                weights.append(_aligned(piece).to(gradient.device, gradient.dtype))
        if not outputs:
            return [None] * len(rows)

        def backward() -> list[Tensor | None]:
            return list(
                torch.autograd.grad(
                    outputs, inputs, grad_outputs=weights, retain_graph=True, allow_unused=True
                )
            )

        if self._callbacks:
            return self.snapshot.inside(self._leaves, backward)
        return self.snapshot.backward(backward)


def _aligned(piece: Tensor) -> Tensor:
    """A parameter that is viewed as complex numbers is so too in a product, which then asks for an even offset."""
    return piece.clone() if piece.storage_offset() % 2 else piece
