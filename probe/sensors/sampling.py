"""How the examples of a batch were drawn, and by whom: what that does to the noise of its gradient."""

from __future__ import annotations

import torch

from ..reference import plain_size
from .sensor import Context

UNCOUNTED = "it is not plain how many examples a batch holds"


def uncounted(context: Context) -> bool:
    """What this step's batch has of the examples of an epoch would matter, and cannot be told."""
    return context.examples is not None and context.batch is not None and plain_size(context.batch) is None


def finite(context: Context, parts: int, *, consecutive: bool) -> float:
    """What drawing B of N without replacement does to an estimate: the noise is S²/B (1 - B/N) (Cochran 1977, section
    2.6), parts of a batch estimate S²/B, and consecutive batches that, but for one pair in N/B, which two epochs share and
    which estimates the noise itself: S²/B (1 - B²/N²) on average. Nothing where B is not plain."""
    size = None if context.batch is None else plain_size(context.batch)
    if context.examples is None or size is None:
        return 1.0
    share = min(1.0, parts * size / context.examples)
    return 1.0 / (1.0 + share) if consecutive else 1.0 - share


def ranks(context: Context) -> int:
    """Processes that may average their gradients after each has added its own, this one among them."""
    several = torch.distributed
    if not (several.is_available() and several.is_initialized()):
        return 1
    return max(1, several.get_world_size(context.group))
