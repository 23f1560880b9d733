"""Activations that are thrown away and computed once more, in the one of PyTorch's two ways that can be differentiated by
``torch.autograd.grad``, and twice: the reentrant one, its default, can not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils import checkpoint


@contextmanager
def not_reentrant() -> Iterator[None]:
    """While open, a reentrant checkpoint of this thread is one of the other kind, of the same value and memory."""
    module: Any = checkpoint
    original = module.CheckpointFunction
    mine = threading.get_ident()

    class Instead:
        @staticmethod
        def apply(function: Callable[..., Any], preserve: bool, *inputs: Any) -> Any:
            if threading.get_ident() != mine:
                return original.apply(function, preserve, *inputs)
            return module.checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=preserve)

    module.CheckpointFunction = Instead
    try:
        yield
    finally:
        module.CheckpointFunction = original
