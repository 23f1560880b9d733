"""The tensors of a batch, whatever holds them: tuples, lists and dicts, named tuples, packed sequences, and objects that
keep them in attributes or slots (a dict of a tokenizer, a dataclass, a graph). An array of NumPy's counts as one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType, MemberDescriptorType, ModuleType, NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map

from .arrays import is_array

DEPTH = 2
"""Objects within one another that are looked into."""

_SHUT = (str, bytes, int, float, NoneType, type, ModuleType, FunctionType, nn.Module)
"""That hold no tensors, or none of a batch."""


def tensors(batch: Any, depth: int = 0) -> list[Tensor]:
    """All of them, in order."""
    found: list[Tensor] = []
    for leaf in tree_leaves(batch, is_leaf=_packed):
        if (tensor := _tensor(leaf)) is not None:
            found.append(tensor)
        elif isinstance(leaf, _SHUT):
            continue
        elif _packed(leaf):
            found += [part for part in leaf if part is not None]
        elif _opens(leaf, depth):
            for value in _kept(leaf).values():
                found += tensors(value, depth + 1)
    return found


def leading(batch: Any) -> list[tuple[int, int]]:
    """How deep each tensor lies that has a leading dimension, and how large that is; a packed sequence counts as one
    tensor, of its sequences."""
    return _leading(batch, 0, 0)


def mapped(change: Callable[[Tensor], Tensor], batch: Any) -> Any:
    """The same with ``change(tensor)`` in place of each; what holds none is the very object."""
    return _mapped(change, batch, 0)


def fresh(batch: Any) -> Any:
    """The same in copies: what is written to its tensors, or taken out of its dicts, is there again the next time."""
    return mapped(_copied, batch)


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
    if (tensor := _tensor(part)) is not None:
        return [(level, tensor.size(0))] if tensor.dim() > 0 else []
    if _packed(part):
        return [(level, int(part.batch_sizes[0]))]  # which PyTorch keeps on the host
    if isinstance(part, _SHUT):
        return []
    members = tree_leaves(part, is_leaf=lambda inner: inner is not part)
    if len(members) == 1 and members[0] is part:
        members, depth = (list(_kept(part).values()), depth + 1) if _opens(part, depth) else ([], depth)
    return [found for member in members for found in _leading(member, level + 1, depth)]


def _mapped(change: Callable[[Tensor], Tensor], batch: Any, depth: int) -> Any:
    def inside(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return change(leaf)
        if (tensor := _tensor(leaf)) is not None:
            return change(tensor).numpy()
        if _packed(leaf):
            parts: list[Any] = [None if part is None else change(part) for part in leaf]
            return PackedSequence(*parts)
        if not _opens(leaf, depth):
            return leaf
        values = {name: _mapped(change, value, depth + 1) for name, value in _kept(leaf).items()}
        made = copy.copy(leaf)
        if isinstance(leaf, dict):
            for key in leaf:
                dict.__setitem__(made, key, values[key])
            values = {name: values[name] for name in vars(leaf)} if hasattr(leaf, "__dict__") else {}
        slots = _slots(type(leaf))
        for name in values.keys() & slots.keys():
            slots[name].__set__(made, values.pop(name))  # also where the object itself allows no change
        if values:
            vars(made).update(values)
        return made

    return tree_map(inside, batch, is_leaf=_packed)


def _tensor(leaf: Any) -> Tensor | None:
    """A tensor, or one in the memory of an array where that can be."""
    if isinstance(leaf, Tensor):
        return leaf
    if not is_array(leaf):
        return None
    plain = leaf.flags.writeable and all(stride >= 0 for stride in leaf.strides)
    try:
        return torch.from_numpy(leaf if plain else leaf.copy())
    except (TypeError, ValueError):  # of words or objects, or in another byte order
        return None


def _copied(leaf: Tensor) -> Tensor:
    return leaf.detach().clone().requires_grad_(leaf.requires_grad)


def _packed(part: Any) -> bool:
    return isinstance(part, PackedSequence)


def _kept(leaf: Any) -> dict[Any, Any]:
    """What is in its attributes and slots, and under its keys where it is a dict of a kind of its own."""
    kept: dict[Any, Any] = dict(leaf) if isinstance(leaf, dict) else {}
    for name, slot in _slots(type(leaf)).items():
        with suppress(AttributeError):  # nothing is in it
            kept[name] = slot.__get__(leaf)
    own = getattr(leaf, "__dict__", None)
    return {**kept, **own} if isinstance(own, dict) else kept


def _slots(kind: type) -> dict[str, MemberDescriptorType]:
    """By name, of a class that Python code has written, its parents' too."""
    return {
        name: slot
        for part in reversed(kind.__mro__)
        if "__slots__" in vars(part)
        for name, slot in vars(part).items()
        if isinstance(slot, MemberDescriptorType)
    }


def _opens(leaf: Any, depth: int) -> bool:
    """Whether it is an object with tensors among its attributes."""
    if depth >= DEPTH or isinstance(leaf, _SHUT):
        return False
    return bool(tensors(tuple(_kept(leaf).values()), depth + 1))
