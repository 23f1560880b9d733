"""Where the global random streams stand, so that it can be told whether something has drawn from them."""

from __future__ import annotations

import random
import sys
from typing import Any

import torch


def torch_streams(model: Any) -> tuple[bytes, int] | None:
    """PyTorch's, on the host and on the model's device; None where that is not known."""
    host = torch.default_generator.get_state().numpy().tobytes()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if device.type == "cpu":
        return host, 0
    if device.type != "cuda":
        return None
    generators: Any = torch.cuda.default_generators
    try:
        return host, int(
            generators[device.index or 0].get_offset()
        )  # kept on the host: nothing is waited for
    except RuntimeError:  # while a graph is captured
        return None


def streams(model: Any) -> tuple[Any, ...] | None:
    """PyTorch's, Python's and NumPy's; None where one is not known."""
    known = torch_streams(model)
    if known is None:
        return None
    numpy: Any = sys.modules.get("numpy.random")
    kind, keys, *place = numpy.get_state() if numpy is not None else ("", b"")
    return known, random.getstate(), kind, bytes(keys), place
