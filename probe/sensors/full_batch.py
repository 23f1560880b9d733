"""Whether every step sees the same examples and draws nothing: then the step has no noise, by definition."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor

from ..batches import tensors
from ..reference import plain_size
from ..streams import torch_streams
from .sensor import Context

OFTEN = 8
"""Steps in a row with the very same tensors; an epoch of one batch is meant, not a coincidence."""


class FullBatch:
    """Asked once a measured step."""

    def __init__(self) -> None:
        self._seen: list[tuple[weakref.ref[Tensor], int]] = []
        self._in_a_row = 0
        self._stream: tuple[bytes, int] | None = None

    def words(self, context: Context, parts: int) -> str:
        """Why there is no noise, with ``parts`` micro-batches an update; empty where there is some, or may be."""
        size = plain_size(context.batch) if context.batch is not None else None
        if context.examples is not None and parts * (size or 0) >= context.examples > 0:
            return f"full batch: all {context.examples} examples at every step"
        if self._repeats(context.batch) and parts == 1 and not self._draws(context.model):
            return "full batch: the same examples at every step"
        return ""

    def _repeats(self, batch: Any) -> bool:
        """By identity, and by the version that writing in place raises: a freed tensor's address is used again."""
        leaves = tensors(batch) if batch is not None else []
        same = len(leaves) == len(self._seen) and all(
            before() is leaf and version == leaf._version
            for leaf, (before, version) in zip(leaves, self._seen, strict=True)
            if not leaf.is_inference()
        )
        self._seen = [(weakref.ref(leaf), leaf._version) for leaf in leaves if not leaf.is_inference()]
        self._in_a_row = self._in_a_row + 1 if same and self._seen else 0
        return self._in_a_row >= OFTEN

    def _draws(self, model: Any) -> bool:
        """Dropout, or a loop or loss that draws from a random stream: then even a full batch has noise."""
        stream = torch_streams(model)
        before, self._stream = self._stream, stream
        if before is None or stream is None or before != stream:
            return True
        return any(
            module.training and getattr(module, "p", 0) and "Dropout" in type(module).__name__
            for module in model.modules()
        )
