"""A stretch of work on the live model that leaves no trace in it, nor in any random stream."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import _disable_current_modes

from ..measuring import unheard
from .checkpoints import not_reentrant
from .parts import Holder
from .precision import no_autocast, no_tf32

LONG = 1 << 14
"""Members of a container, from which on it is not copied: what was added to a list is taken off again."""

SEED = 0x15
"""The same noise in every evaluation, so that a loss that samples (VAE, diffusion) is one function of the parameters."""

_woken: WeakSet[nn.Module] = WeakSet()


def woken(module: nn.Module) -> bool:
    """Whether it has been in training mode at the end of such a stretch, since what ran there had put it there."""
    return module in _woken


def name_of(module: nn.Module) -> str:
    """Of its class, or of the one that was compiled."""
    return str(module.original_name if isinstance(module, torch.jit.ScriptModule) else type(module).__name__)


def by_batch(module: nn.Module) -> bool:
    """Whether this layer normalises by the statistics of each batch, as BatchNorm in training does.

    Not SyncBatchNorm, whose forward pass talks to other ranks, nor InstanceNorm, which takes each example for itself.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return module.training and name_of(module).startswith("BatchNorm")
    return (
        module.training
        and isinstance(module, nn.modules.batchnorm._BatchNorm)
        and not isinstance(module, nn.SyncBatchNorm)
    )


def by_input(module: nn.Module) -> bool:
    """Whether it normalises by what it is given: ``by_batch``, or each example by itself."""
    return by_batch(module) or (module.training and isinstance(module, nn.modules.instancenorm._InstanceNorm))


@contextmanager
def quiet(
    model: nn.Module,
    devices: set[torch.device],
    *,
    twice: bool = True,
    by_example: bool = False,
    holders: Sequence[Holder] = (),
    seed: int = SEED,
) -> Iterator[None]:
    """Eval mode, single precision, gradients on, seeded randomness; afterwards all is exactly as before, also in
    ``holders``.

    ``twice`` forces what can be differentiated twice. Layers that normalise by what they are given go on doing so, but
    not by the batch if ``by_example``: by running statistics it would be another function than the one that is trained,
    50 times sharper in one measurement. Their buffers must be copies. The flags are set one by one: ``model.eval()``
    runs the user's own ``train()``, and restoring with ``train()`` would thaw layers that the user has frozen.
    """
    modules = list(model.modules())
    training = [m for m in modules if m.training and (not by_input(m) or (by_example and by_batch(m)))]
    asleep = [*training, *(module for module in modules if not module.training)]
    attributes = [(kept, dict(kept)) for module in modules for kept in _attributes(module)]
    contents = [(holder, copy(holder)) for holder in holders if len(holder) <= LONG]
    lengths = [(holder, len(holder)) for holder in holders if isinstance(holder, list) and len(holder) > LONG]
    accelerators = [device for device in devices if device.type != "cpu"]
    with ExitStack() as stack:
        stack.enter_context(unheard())
        stack.enter_context(_seeded(accelerators, seed))
        stack.enter_context(_uncached())
        stack.enter_context(torch.enable_grad())
        stack.enter_context(arithmetic(devices))
        stack.enter_context(no_autocast())
        stack.enter_context(not_reentrant())
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            # Compiled code has no double backward, and a new trace of it would cost the training seconds.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        # A TorchScript function is compiled for the shapes of its first calls, which must be the training's.
        stack.enter_context(torch.jit.optimized_execution(False))  # type: ignore[attr-defined]
        if twice:  # the fused attention kernels have no double backward; the plain one has
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if accelerators and any(isinstance(module, nn.RNNBase) for module in modules):
            # cuDNN's RNN has no double backward, and in eval mode no backward at all.
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        try:
            for module in training:
                _switch(module, False)
            for module in filter(_reports, modules):
                module.__dict__.update(log=_unheard, log_dict=_unheard)
            yield
        finally:
            _woken.update(module for module in asleep if module.training)
            for module in training:
                _switch(module, True)
            for holder, content in [*attributes, *contents]:
                _restore(holder, content)
            for long, length in lengths:
                del long[length:]


def _switch(module: nn.Module, training: bool) -> None:
    if isinstance(module, torch.jit.ScriptModule):  # whose flag is in the compiled code
        module.training = training
    else:
        module.__dict__["training"] = training  # what Module.__setattr__ comes down to, forty times faster


def _reports(module: nn.Module) -> bool:
    """Whether it tells its trainer numbers, of which it makes means that stop the training or choose a checkpoint."""
    return any(kind.__name__ == "LightningModule" for kind in type(module).__mro__)


def _unheard(*_: Any, **__: Any) -> None:
    """Instead of ``log``: what is measured is not of the training."""


@contextmanager
def arithmetic(devices: set[torch.device]) -> Iterator[None]:
    """Numbers are added and multiplied in the precision that they have; all that a backward pass by itself asks for."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        # A loop that looks for its own NaN must not be told of ours, in a traceback of its lines.
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        if torch._C._len_torch_dispatch_stack():  # as of a counter of operations, which are not the loop's
            stack.enter_context(_disable_current_modes())
        for kind in {"cpu", *(device.type for device in devices)} - {"meta"}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(no_tf32())
        yield


@contextmanager
def _seeded(accelerators: list[torch.device], seed: int) -> Iterator[None]:
    """Every global random stream starts at the seed, and goes on afterwards as if nothing had drawn from it."""
    numpy_random: Any = sys.modules.get("numpy.random")
    python_state = random.getstate()
    numpy_state = numpy_random.get_state() if numpy_random is not None else None
    kind = accelerators[0].type if accelerators else "cuda"
    with torch.random.fork_rng(accelerators, device_type=kind):
        try:
            # Not torch.manual_seed, which reseeds devices too that are not put back.
            torch.default_generator.manual_seed(seed)
            for device in accelerators:
                module: Any = torch.get_device_module(device)
                generators = getattr(module, "default_generators", ())
                if generators:
                    generators[device.index or 0].manual_seed(seed)
            random.seed(seed)
            if numpy_random is not None:
                numpy_random.seed(seed)
            yield
        finally:
            random.setstate(python_state)
            if numpy_random is not None:
                numpy_random.set_state(numpy_state)


@contextmanager
def _uncached() -> Iterator[None]:
    """Parametrized weights are computed anew: inside ``parametrize.cached()`` they are those of the live model."""
    enabled, cache = parametrize._cache_enabled, parametrize._cache
    parametrize._cache_enabled, parametrize._cache = 0, {}
    try:
        yield
    finally:
        parametrize._cache_enabled, parametrize._cache = enabled, cache


def _attributes(module: nn.Module) -> list[dict[str, Any]]:
    """What a forward pass keeps on its module (a hidden state, a recomputed weight) would hold our graph in memory."""
    own = module.__dict__
    return [own, *(own[name] for name in ("_parameters", "_buffers") if isinstance(own.get(name), dict))]


def _restore(holder: Holder, kept: Holder) -> None:
    if isinstance(holder, dict) and isinstance(kept, dict):
        if holder.keys() != kept.keys() or any(holder[name] is not kept[name] for name in kept):
            holder.clear()
            holder.update(kept)
    elif isinstance(holder, list | deque):
        if len(holder) != len(kept) or any(a is not b for a, b in zip(holder, kept, strict=True)):
            holder.clear()
            holder.extend(kept)
    elif holder != kept:
        holder.clear()
        holder.update(kept)
