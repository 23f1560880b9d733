"""What the functions of this room have in common: where they stand in, and where PyTorch's own take over again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

PLAIN = (Tensor, torch.nn.Parameter)

Asked = Callable[[], bool]
"""Whether it is the loss that differentiates (a gradient penalty, a differential equation), and not we the loss."""


class TwiceFunction(torch.autograd.Function):
    """Its backward pass looks at nothing but its graph, and may be differentiated once more but not twice."""


def last() -> None:
    """Raises RuntimeError where a graph of this derivative is asked for, which would be without its third one."""
    if torch.is_grad_enabled():
        raise RuntimeError("this graph was built to be differentiated twice and no third time")


def suits(*tensors: Tensor | None, least: int) -> bool:
    """Whether a function of this room may take the first, which is the activation, and what goes with it.

    Not with fewer than ``least`` numbers: calling Python in a backward pass then costs what it saves.
    Not in less than single precision, in subclasses of ``Tensor``, in ``torch.func`` and in forward differentiation.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    activation = given[0]
    return (
        all(type(tensor) in PLAIN and tensor.dtype == activation.dtype for tensor in given)
        and activation.dtype in (torch.float32, torch.float64)
        and activation.layout == torch.strided
        and activation.numel() >= least
        and torch.is_grad_enabled()
        and any(tensor.requires_grad for tensor in given)
        and not torch._C._are_functorch_transforms_active()
        and getattr(forward_ad, "_current_level", -1) < 0
    )


def anew(
    function: Callable[..., Any], inputs: Sequence[Tensor | None], wanted: Sequence[bool], dy: Tensor
) -> list[Tensor | None]:
    """The gradients of ``function(*inputs)`` to what is wanted by PyTorch's own graph, however often differentiable."""
    chosen = [tensor for tensor, want in zip(inputs, wanted, strict=True) if want and tensor is not None]
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        value = function(*inputs)
    found = iter(torch.autograd.grad(value, chosen, dy, create_graph=create))
    return [
        next(found) if want and tensor is not None else None
        for tensor, want in zip(inputs, wanted, strict=True)
    ]
