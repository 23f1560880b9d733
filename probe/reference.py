"""The fixed reference batch: the same examples for the whole run.

On fresh minibatches the extreme eigenvalues jump by a fifth from batch to batch and are biased outwards (E λ_max of a
batch ≥ λ_max of the data, by Jensen), so a time series of them would show the sampling and not the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from lsmon.protocol.errors import UsageError

EXAMPLES = 512
"""At 256 of 1024 examples λ_max of a digits MLP was still 1.3 times too large; 512 is what a budget of 5 % can pay."""


class Reference:
    """One batch or several, detached copies, with their numbers of examples.

    Raises UsageError for a batch without tensors.
    """

    def __init__(self, given: Any = None) -> None:
        self.batches: list[Any] = []
        self.sizes: list[int] = []
        self.complete = given is not None
        if given is not None:
            for batch in given if _is_list_of_batches(given) else [given]:
                self._keep(batch)

    @property
    def examples(self) -> int:
        return sum(self.sizes)

    def offer(self, batch: Any) -> None:
        """A batch that the loop trains on; kept while fewer than 512 examples are."""
        if self.complete or batch is None:
            return
        self._keep(_head(batch, EXAMPLES - self.examples))
        self.complete = self.examples >= EXAMPLES

    def _keep(self, batch: Any) -> None:
        size = _size(batch)
        if size == 0:
            raise UsageError("The batch holds no tensor with examples; pass one to Probe as reference=.")
        self.batches.append(tree_map(_own, batch))
        self.sizes.append(size)


def _is_list_of_batches(given: Any) -> bool:
    """A list of tuples, lists or dicts is several batches; a list (or tuple) of tensors is one."""
    return isinstance(given, list) and bool(given) and all(not isinstance(item, Tensor) for item in given)


def _tensors(batch: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]


def _size(batch: Any) -> int:
    """Leading dimension of the first tensor that has one."""
    return next((len(tensor) for tensor in _tensors(batch) if tensor.dim() > 0), 0)


def _head(batch: Any, room: int) -> Any:
    """The first ``room`` examples, where it is plain which dimension counts them; else the whole batch."""
    size = _size(batch)
    tensors: Sequence[Tensor] = _tensors(batch)
    if size <= room or any(tensor.dim() == 0 or len(tensor) != size for tensor in tensors):
        return batch
    return tree_map(lambda leaf: leaf[:room] if isinstance(leaf, Tensor) else leaf, batch)


def _own(leaf: Any) -> Any:
    """A copy that training cannot change, in single precision at least: half has no Hessian worth the name."""
    if not isinstance(leaf, Tensor):
        return leaf
    with torch.inference_mode(False):  # else the copy could not be differentiated through
        copy = leaf.detach().clone()
    return copy.float() if copy.dtype in (torch.float16, torch.bfloat16) else copy
