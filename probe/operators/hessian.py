"""The Hessian of the loss on the reference batch, as an operator: products with vectors, no matrix.

Double backward on a snapshot (Pearlmutter 1994). The graph of the gradient is built once and kept for all products of
a measurement, so that a product costs two gradients instead of three, and it is built on copies of the parameters, so
that the training may go on between two products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..reference import Reference
from .quiet import quiet

HALF = (torch.float16, torch.bfloat16)


class _Loss(nn.Module):
    """``loss_fn(model, batch)`` as a module, so that any use of the model inside sees the snapshot."""

    def __init__(self, model: nn.Module, loss_fn: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.model = model
        self.loss_fn = loss_fn

    def forward(self, batch: Any) -> Any:
        return self.loss_fn(self.model, batch)


class Hessian:
    """∇²L at the parameters that the model has now; ``dim`` × ``dim``, symmetric up to rounding.

    Raises ValueError when ``loss_fn`` gives no scalar that depends on the model's parameters.
    """

    def __init__(self, model: nn.Module, loss_fn: Callable[[Any, Any], Any], reference: Reference) -> None:
        self._model = model
        live = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        if not live:
            raise ValueError("the model has no parameter that receives a gradient")
        self._devices = {tensor.device for tensor in [*live.values(), *model.buffers()]}
        with quiet(model, self._devices):
            self._parameters = {name: _own(parameter).requires_grad_() for name, parameter in live.items()}
            loss = self._loss(_Loss(model, loss_fn), reference)
            wanted = list(self._parameters.values())
            gradients = torch.autograd.grad(loss, wanted, create_graph=True, allow_unused=True)
        if all(gradient is None for gradient in gradients):
            raise ValueError(
                "loss_fn does not use the model that it is given, so nothing can be differentiated"
            )
        # A gradient without a graph is constant: its rows of the Hessian are zero.
        self._outputs = [
            (index, gradient)
            for index, gradient in enumerate(gradients)
            if gradient is not None and gradient.requires_grad
        ]
        self.dim = sum(parameter.numel() for parameter in wanted)
        self.device = wanted[0].device
        self.dtype = torch.float64 if any(p.dtype == torch.float64 for p in wanted) else torch.float32
        self.loss: Tensor = loss.detach()
        self.grad_norm: Tensor = torch.linalg.vector_norm(self._flat(gradients)).detach()

    def matvec(self, vector: Tensor) -> Tensor:
        """H·v for v of shape (dim,)."""
        wanted = list(self._parameters.values())
        pieces = torch.split(vector, [parameter.numel() for parameter in wanted])
        shaped = [
            pieces[index].reshape(gradient.shape).to(gradient.device, gradient.dtype)
            for index, gradient in self._outputs
        ]
        if not shaped:
            return torch.zeros_like(vector)
        with quiet(self._model, self._devices):
            products = torch.autograd.grad(
                [gradient for _, gradient in self._outputs],
                wanted,
                grad_outputs=shaped,
                retain_graph=True,
                allow_unused=True,
            )
        return self._flat(products)

    def _loss(self, wrapped: nn.Module, reference: Reference) -> Tensor:
        """Mean over the examples of all reference batches."""
        total: Tensor | None = None
        for batch, size in zip(reference.batches, reference.sizes, strict=True):
            state: dict[str, Tensor] = {
                f"model.{name}": _own(buffer) for name, buffer in self._model.named_buffers()
            }
            state |= {
                f"model.{name}": _own(parameter) if parameter.dtype in HALF else parameter.detach()
                for name, parameter in self._model.named_parameters()
            }
            state |= {f"model.{name}": parameter for name, parameter in self._parameters.items()}
            loss = functional_call(wrapped, state, (batch,), tie_weights=True)
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                raise ValueError(
                    "loss_fn(model, batch) must return one number as a tensor, the mean loss of the batch"
                )
            term = loss.reshape(()) * (size / reference.examples)
            total = term if total is None else total + term
        if total is None:
            raise ValueError("there is no reference batch")
        if not total.requires_grad:
            raise ValueError(
                "loss_fn does not use the model that it is given, so nothing can be differentiated"
            )
        return total

    def _flat(self, pieces: Sequence[Tensor | None]) -> Tensor:
        return torch.cat(
            [
                (torch.zeros_like(parameter) if piece is None else piece.detach())
                .reshape(-1)
                .to(self.device, self.dtype)
                for piece, parameter in zip(pieces, self._parameters.values(), strict=True)
            ]
        )


def _own(tensor: Tensor) -> Tensor:
    """A detached copy, in single precision at least."""
    return tensor.detach().to(torch.float32) if tensor.dtype in HALF else tensor.detach().clone()
