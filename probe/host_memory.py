"""How much host memory may be taken when a device has no room for a basis."""

from __future__ import annotations

import os
from pathlib import Path

import torch

SHARE = 4
"""Of what is free now no more than one part in so many: data loaders and checkpoints will want theirs."""

LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""What a container may use, and uses, under version 2 and 1 of control groups."""


def host_room(device: torch.device, groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes; 0 for a CPU, whose basis is in host memory anyway, and where it cannot be told."""
    if device.type != "cuda":
        return 0
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0
    for limit, used in LIMITS:
        try:
            free = min(free, int((groups / limit).read_text()) - int((groups / used).read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return max(0, free) // SHARE
