"""The functions of this room stand in for PyTorch's while a loss is built that will be differentiated twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .layer_norm import layer_norm
from .smooth import gelu, silu
from .weight_norm import weight_norm

INSTEAD: dict[Any, Callable[..., Any]] = {
    F.gelu: gelu,
    F.silu: silu,
    F.layer_norm: layer_norm,
    torch._weight_norm: weight_norm,
}


class CheaplyTwice(TorchFunctionMode):
    """While it is entered, a product on large activations of GELU, SiLU and LayerNorm will take a third for them.

    What is differentiated meanwhile (by a gradient penalty) is so by PyTorch's own functions, and may be twice more.

    Args:
        unless: where PyTorch's own are to stay, as in a checkpoint, which computes them once more out of this mode.
    """

    def __init__(self, unless: Callable[[], bool]) -> None:
        super().__init__()
        self._unless, self._entered = unless, False

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._entered = True
        return self

    def __exit__(self, *error: object) -> None:
        self._entered = False
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        instead = INSTEAD.get(func)
        done = None
        if instead is not None and not self._unless():
            done = instead(lambda: self._entered, *args, **kwargs)
        return func(*args, **kwargs) if done is None else done
