"""The tensors of a batch, whatever holds them: tuples, lists and dicts, named tuples, packed sequences, and objects that
keep them in attributes (a dict of a tokenizer, a dataclass, a graph)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map

DEPTH = 2
"""Objects within one another that are looked into."""


def tensors(batch: Any, depth: int = 0) -> list[Tensor]:
    """All of them, in order."""
    found: list[Tensor] = []
    for leaf in tree_leaves(batch, is_leaf=_packed):
        if isinstance(leaf, Tensor):
            found.append(leaf)
        elif _packed(leaf):
            found += [part for part in leaf if part is not None]
        elif _opens(leaf, depth):
            for value in vars(leaf).values():
                found += tensors(value, depth + 1)
    return found


def leading(batch: Any) -> list[tuple[int, int]]:
    """How deep each tensor lies that has a leading dimension, and how large that is; a packed sequence counts as one
    tensor, of its sequences."""
    return _leading(batch, 0, 0)


def mapped(change: Callable[[Tensor], Tensor], batch: Any) -> Any:
    """The same with ``change(tensor)`` in place of each; what holds none is the very object."""
    return _mapped(change, batch, 0)


def cut(leaf: Tensor, part: slice) -> Tensor:
    """Some of the examples; a leaf that is differentiated to, as the points of a differential equation, stays one."""
    some = leaf[part]
    return some.detach().requires_grad_() if leaf.requires_grad else some


def interleaved(leaf: Tensor, stride: int) -> Tensor:
    """The same examples in another order, in which none has the neighbours that it had; by slices, so that no order has
    to be sent to the device."""
    order = torch.cat([leaf[first::stride] for first in reversed(range(stride))])
    return order.detach().requires_grad_() if leaf.requires_grad else order


def _leading(part: Any, level: int, depth: int) -> list[tuple[int, int]]:
    if isinstance(part, Tensor):
        return [(level, part.size(0))] if part.dim() > 0 else []
    if _packed(part):
        return [(level, int(part.batch_sizes[0]))]  # which PyTorch keeps on the host
    if part is None or isinstance(part, str | int | float):
        return []
    members = tree_leaves(part, is_leaf=lambda inner: inner is not part)
    if len(members) == 1 and members[0] is part:
        members, depth = (list(vars(part).values()), depth + 1) if _opens(part, depth) else ([], depth)
    return [found for member in members for found in _leading(member, level + 1, depth)]


def _mapped(change: Callable[[Tensor], Tensor], batch: Any, depth: int) -> Any:
    def inside(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return change(leaf)
        if _packed(leaf):
            parts: list[Any] = [None if part is None else change(part) for part in leaf]
            return PackedSequence(*parts)
        if not _opens(leaf, depth):
            return leaf
        values = {name: _mapped(change, value, depth + 1) for name, value in vars(leaf).items()}
        made = copy.copy(leaf)
        vars(made).update(values)
        return made

    return tree_map(inside, batch, is_leaf=_packed)


def _packed(part: Any) -> bool:
    return isinstance(part, PackedSequence)


def _opens(leaf: Any, depth: int) -> bool:
    """Whether it is an object with tensors among its attributes."""
    own = getattr(leaf, "__dict__", None)
    shut = isinstance(leaf, type | ModuleType | FunctionType | nn.Module)
    return (
        depth < DEPTH and isinstance(own, dict) and not shut and bool(tensors(tuple(own.values()), depth + 1))
    )
