"""The model under watch: what it is, without its wrappers, and whether it can be measured from one process."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .operators.quiet import by_batch, name_of, woken


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside DistributedDataParallel, DataParallel and torch.compile.

    A forward pass through DistributedDataParallel talks to the other ranks, which a measurement on one rank must
    never do; a compiled module has no double backward.
    """
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def inner(optimizer: Any) -> Any:
    """The optimizer inside a wrapper (as of accelerate) that looks like one and has no hooks of its own."""
    while not hasattr(optimizer, "_optimizer_step_pre_hooks"):
        within = getattr(optimizer, "optimizer", None)
        if not hasattr(within, "param_groups"):
            return optimizer
        optimizer = within
    return optimizer


def averaging(model: nn.Module) -> Any:
    """The process group over which DistributedDataParallel averages gradients; None without, or for all processes."""
    inner = getattr(model, "_orig_mod", model)
    return inner.process_group if isinstance(inner, nn.parallel.DistributedDataParallel) else None


def compiled(model: nn.Module) -> bool:
    """Whether torch.compile stands between the loop and the modules."""
    wrapped = getattr(model, "module", model)
    return (
        hasattr(model, "_orig_mod")
        or hasattr(wrapped, "_orig_mod")
        or any(getattr(module, "_compiled_call_impl", None) is not None for module in model.modules())
    )


def trouble(model: nn.Module) -> str:
    """Why the parameters of this model must not be touched from one rank; empty when they may."""
    if type(model).__name__ == "FullyShardedDataParallel" or any(
        hasattr(parameter, "full_tensor") for parameter in model.parameters()
    ):
        return "sharded parameters (FSDP) are not measured yet: only what the loop logs is shown"
    if any(parameter.is_meta for parameter in model.parameters()):
        return "parameters on the meta device have no values"
    return ""


def unborn(model: nn.Module) -> bool:
    """A lazy module knows its parameters after the first forward pass."""
    return any(map(is_lazy, model.parameters()))


def describe(model: nn.Module, optimizer: Any) -> dict[str, Any]:
    """Fields of the header: model, parameters, optimizer, device, torch."""
    trainable = [p for p in model.parameters() if p.requires_grad and not is_lazy(p)]
    facts: dict[str, Any] = {
        "torch": str(torch.__version__),
        "model": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in trainable),
        "device": ", ".join(sorted({str(parameter.device) for parameter in trainable})),
    }
    if optimizer is not None:
        facts["optimizer"] = type(optimizer).__name__
    return facts


def eval_mode(model: nn.Module) -> str:
    """What eval mode means for this model, or that its loss has left it."""
    modules = list(model.modules())
    kinds = [name_of(module) for module in modules]
    words = ["loss_fn switches training mode on" if any(map(woken, modules)) else "eval mode"]
    dropouts = [module for module, kind in zip(modules, kinds, strict=True) if "Dropout" in kind]
    if dropouts:
        words.append("dropout with fixed noise" if any(map(woken, dropouts)) else "dropout off")
    norms = [module for module, kind in zip(modules, kinds, strict=True) if "BatchNorm" in kind]
    if any(by_batch(module) for module in modules) or any(map(woken, norms)):
        words.append("BatchNorm by the statistics of each batch")
    elif norms:
        words.append("BatchNorm by running statistics")
    return words[0] + (": " + ", ".join(words[1:]) if len(words) > 1 else "")
