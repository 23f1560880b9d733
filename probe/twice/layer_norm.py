"""Layer normalisation whose double backward is written out: twenty kernels, where PyTorch's formula takes eighty.

With x̂ = (x - μ)·r, r = 1/√(σ² + ε) and P(a) = a - ⟨a⟩ - x̂⟨a·x̂⟩, where ⟨·⟩ is the mean over what is normalised::

    y = x̂·w + b        ∂x = r·P(∂y·w)        ∂w = Σ ∂y·x̂        ∂b = Σ ∂y

and, with g = ∂y·w, the gradient of u·∂x + p·∂w + q·∂b is::

    to ∂y   w·r·P(u) + x̂·p + q
    to w    Σ ∂y·r·P(u)
    to x    r·P(h) - r²·x̂·(⟨u·g⟩ - ⟨u⟩⟨g⟩ - ⟨u·x̂⟩⟨g·x̂⟩),  where h = ∂y·p - r·(u·⟨g·x̂⟩ + g·⟨u·x̂⟩)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .function import Asked, TwiceFunction, anew, last, suits

LEAST = 1 << 16
"""Numbers in an activation: 512 rows of 128 take two thirds of PyTorch's time, 2048 of 768 a quarter, 64 of 128 all of it."""

_gradients = torch.ops.aten.native_layer_norm_backward.default


def layer_norm(
    asked: Asked,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor | None:
    """As ``torch.nn.functional.layer_norm``; None where that is better."""
    if not suits(input, weight, bias, least=LEAST):
        return None
    shape = list(normalized_shape)
    done: Tensor = _Value.apply(input, weight, bias, shape, eps, asked)  # type: ignore[no-untyped-call]
    return done


class _Value(TwiceFunction):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        shape: list[int],
        eps: float,
        asked: Asked,
    ) -> Tensor:
        y, mean, r = torch.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(x, weight, bias, mean, r)
        ctx.shape, ctx.eps, ctx.asked = shape, eps, asked
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Any, ...]:
        (dy,), (x, weight, bias, mean, r) = grad_outputs, ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if not torch.is_grad_enabled():
            gradients: Any = _gradients(dy, x, ctx.shape, mean, r, weight, bias, wanted)
        elif not ctx.asked():
            gradients = _Gradient.apply(  # type: ignore[no-untyped-call]
                dy, x, weight, bias, mean, r, ctx.shape, wanted
            )
        else:

            def value(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
                return torch.layer_norm(x, ctx.shape, weight, bias, ctx.eps)

            gradients = anew(value, [x, weight, bias], wanted, dy)
        return *gradients, None, None, None


class _Gradient(TwiceFunction):
    @staticmethod
    def forward(
        ctx: Any,
        dy: Tensor,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        r: Tensor,
        shape: list[int],
        wanted: Sequence[bool],
    ) -> Any:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(dy, x, weight, mean, r)
        ctx.width, ctx.means = math.prod(shape), None
        return _gradients(dy, x, shape, mean, r, weight, bias, wanted)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Any, ...]:
        last()
        dy, x, weight, mean, r = ctx.saved_tensors
        rows = _Rows(dy, x, weight, mean, r, ctx.width)
        if ctx.means is None:  # the same in every product on a kept graph
            ctx.means = rows.means()
        to_dy, to_x, to_weight = rows.backward(ctx.means, *grad_outputs)
        to_weight = None if weight is None or to_weight is None else to_weight.reshape(weight.shape)
        return to_dy.reshape(x.shape), to_x.reshape(x.shape), to_weight, *[None] * 5


class _Rows:
    """The double backward of one layer, each row (n, width) normalised for itself."""

    def __init__(
        self, dy: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, r: Tensor, width: int
    ) -> None:
        self._dy, self._r = dy.reshape(-1, width), r.reshape(-1, 1)
        self._x = (x.reshape(-1, width) - mean.reshape(-1, 1)).mul_(self._r)
        self._ones = x.new_ones(width)
        self._weight = self._ones if weight is None else weight.reshape(width)

    def means(self) -> tuple[Tensor, Tensor]:
        """⟨g⟩ and ⟨g·x̂⟩, both (n, 1)."""
        return self._mean(self._dy, self._weight), self._mean(self._dy * self._x, self._weight)

    def backward(
        self, means: tuple[Tensor, Tensor], u: Tensor | None, p: Tensor | None, q: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """To ∂y and to x (n, width), and to w (width,), None where ``u`` is."""
        x, r, dy = self._x, self._r, self._dy
        g, gx = means
        p = self._ones.new_zeros(()) if p is None else p.reshape(-1)
        to_weight = None
        if u is None:
            to_dy, h, along = x * p, dy * p, r.new_zeros(())
        else:
            u = u.reshape(x.shape)
            u_mean, ux = self._mean(u), self._mean(u * x)
            felt = (u - u_mean).addcmul_(x, ux, value=-1).mul_(r)
            to_weight = (dy * felt).sum(0)
            to_dy = felt.mul_(self._weight).addcmul_(x, p)
            h = (dy * (p - r * ux * self._weight)).addcmul_(u, r * gx, value=-1)
            along = r * (self._mean(u * dy, self._weight) - u_mean * g - ux * gx)
        if q is not None:
            to_dy += q.reshape(-1)
        to_x = (h - self._mean(h)).addcmul_(x, self._mean(h * x) + along, value=-1).mul_(r)
        return to_dy, to_x, to_weight

    def _mean(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        weight = self._ones if weight is None else weight
        return (rows @ weight)[:, None] / len(weight)
