"""A stretch of work on the live model that leaves no trace in it, nor in any random stream."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def quiet(model: nn.Module, devices: set[torch.device]) -> Iterator[None]:
    """Eval mode, no autocast, gradients on, double backward possible; afterwards all is exactly as before.

    The flags are set one by one: ``model.eval()`` runs the user's own ``train()``, and restoring with ``train()``
    would thaw layers that the user has frozen.
    """
    training = [module for module in model.modules() if module.training]
    numpy_random = sys.modules.get("numpy.random")
    python_state = random.getstate()
    numpy_state = numpy_random.get_state() if numpy_random is not None else None
    accelerators = [device for device in devices if device.type != "cpu"]
    with ExitStack() as stack:
        kind = accelerators[0].type if accelerators else "cuda"
        stack.enter_context(torch.random.fork_rng(accelerators, device_type=kind))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", *(device.type for device in accelerators)}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        # The fused attention kernels have no double backward; the plain one has.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if accelerators and any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # cuDNN's RNN has none either
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True
            random.setstate(python_state)
            if numpy_random is not None:
                numpy_random.set_state(numpy_state)
