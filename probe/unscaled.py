"""Gradients as the optimizer will consume them, where a ``GradScaler`` leaves it to a fused optimizer to unscale them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def unscaled(optimizer: Any) -> Iterator[None]:
    """Meanwhile ``.grad`` is a copy without the loss scale, and zero where the step will be skipped for an infinity.

    In a hook of ``optimizer.step``, where ``optimizer.grad_scale`` and ``.found_inf`` are set; else nothing happens.
    """
    scale: Tensor | None = getattr(optimizer, "grad_scale", None)
    if scale is None:
        yield
        return
    skipped = getattr(optimizer, "found_inf", None)
    held = [(p, p.grad) for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    try:
        with torch.no_grad():
            for parameter, gradient in held:
                plain = gradient / scale.to(gradient.device, non_blocking=True)
                if skipped is not None and not gradient.is_sparse:
                    plain = plain.masked_fill_(skipped.to(gradient.device, non_blocking=True) > 0, 0.0)
                parameter.grad = plain.to(gradient.dtype)
        yield
    finally:
        for parameter, gradient in held:
            parameter.grad = gradient
