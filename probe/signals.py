"""Exceptions that a signal handler raises (a time limit, a preemption) while the probe is at work: they are the loop's."""

from __future__ import annotations

import functools
import signal
import sys
from inspect import getattr_static
from types import CodeType, FunctionType
from typing import Any


def heed(error: BaseException) -> None:
    """Raise ``error`` again where a handler raised it; return where it is a fault of what was being done."""
    codes = {
        code for number in signal.valid_signals() if (code := _code(signal.getsignal(number))) is not None
    }
    trace = error.__traceback__ if codes else None
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            raise error
        trace = trace.tb_next


def gradients() -> bool | None:
    """Whether this thread records gradients; None where there is no torch."""
    torch: Any = sys.modules.get("torch")
    return None if torch is None else torch.is_grad_enabled()


def restore_gradients(on: bool | None) -> None:
    """What is raised in the very moment in which a context is left, or entered, leaves it half done."""
    if on is not None and gradients() is not on:
        sys.modules["torch"].set_grad_enabled(on)


def _code(handler: Any) -> CodeType | None:
    """Of a function, a method, a partial or an object that is called; None of what Python does not run."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if not callable(handler):
        return None
    function = getattr(handler, "__func__", handler)
    if not isinstance(function, FunctionType):
        function = getattr_static(type(handler), "__call__", None)
    return function.__code__ if isinstance(function, FunctionType) else None
