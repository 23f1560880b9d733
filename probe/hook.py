"""A hook that leaves no trace in what is made of the model or of the optimizer meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Hook:
    """Calls ``act``, but not in a copy, in a file, which must open where lsmon is not, or in a graph that is compiled or traced."""

    act: Callable[..., None]

    def __call__(self, *passed: Any) -> None:
        if not (torch.compiler.is_compiling() or torch._C._get_tracing_state()):
            self.act(*passed)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (nullcontext(), "__exit__")  # which takes anything and does nothing
