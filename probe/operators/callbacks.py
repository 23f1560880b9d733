"""Whether a backward pass will run Python code, which may look at the model or draw random numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from ..twice.function import TwiceFunction


class Callbacks:
    """What was planted in a graph while it was built."""

    def __init__(self) -> None:
        self.hooks = False

    def any(self, outputs: Iterable[Tensor]) -> bool:
        """Python that is not ours runs in the backward pass of these: a hook, or a custom function (those of module
        hooks and of reentrant checkpoints are). About a microsecond a node of the graph."""
        if self.hooks:
            return True
        waiting: list[Any] = [output.grad_fn for output in outputs if output.grad_fn is not None]
        met = set(waiting)
        while waiting:
            node = waiting.pop()
            if isinstance(node, BackwardCFunction) and not _ours(node):
                return True
            for following, _ in node.next_functions:
                if following is not None and following not in met:
                    met.add(following)
                    waiting.append(following)
        return False


def _ours(node: BackwardCFunction) -> bool:
    return issubclass(getattr(node, "_forward_cls", object), TwiceFunction)


@contextmanager
def watched() -> Iterator[Callbacks]:
    """While open, hooks that this thread puts on tensors and on saved tensors (checkpoints, offloading) are noticed."""
    seen, mine = Callbacks(), threading.get_ident()

    def noting(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            seen.hooks = seen.hooks or threading.get_ident() == mine
            return original(*args, **kwargs)

        return call

    saved: Any = torch.autograd.graph.saved_tensors_hooks
    tensor: Any = torch.Tensor
    enter, register = saved.__enter__, tensor.register_hook
    saved.__enter__, tensor.register_hook = noting(enter), noting(register)
    try:
        yield seen
    finally:
        saved.__enter__, tensor.register_hook = enter, register
