"""Single precision that is meant: no autocast, not even the one that a loss function opens itself, no cast to half, and no
TF32.

With bfloat16 anywhere in the gradient a product is off by 0.6 % and no longer symmetric (6e-3 relative, against 4e-5),
and Lanczos loses its footing; TF32 keeps 10 bits of the mantissa.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

HALVES = (torch.float16, torch.bfloat16)


class NoHalves(TorchFunctionMode):
    """While entered, what is cast to half becomes single: the inputs of a model whose half parameters are copied so."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.Tensor.half, torch.Tensor.bfloat16):
            return args[0].float()
        if func is torch.Tensor.view:  # by another dtype it looks at the same bits
            return func(*args, **kwargs)
        return func(*map(_single, args), **{name: _single(value) for name, value in kwargs.items()})


def _single(value: Any) -> Any:
    return torch.float32 if isinstance(value, torch.dtype) and value in HALVES else value


@contextmanager
def no_autocast() -> Iterator[None]:
    """While open, an ``autocast`` entered on this thread is entered as a disabled one."""
    autocast: Any = torch.amp.autocast_mode.autocast
    original = autocast.__enter__
    mine = threading.get_ident()

    def enter(self: Any) -> Any:
        if threading.get_ident() != mine:
            return original(self)
        enabled, self._enabled = self._enabled, False
        try:
            return original(self)
        finally:
            self._enabled = enabled

    autocast.__enter__ = enter
    try:
        yield
    finally:
        autocast.__enter__ = original


@contextmanager
def no_tf32() -> Iterator[None]:
    """While open, products of float32 are computed in float32."""
    backends: Any = torch.backends
    if not hasattr(backends.cudnn, "conv"):  # torch before 2.9: two flags
        matmul, convolution = torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(matmul)
            backends.cudnn.allow_tf32 = convolution
        return
    parts = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
    parts += [backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn]
    kept = [part.fp32_precision for part in parts]
    try:
        for part in parts:
            part.fp32_precision = "ieee"
        yield
    finally:
        for part, precision in zip(parts, kept, strict=True):
            part.fp32_precision = precision
