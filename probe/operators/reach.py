"""What a loss can reach besides its model's tensors: other networks, and lists and dicts that are written to on the way.

Looked for where they stand as a rule: in the attributes of the modules, and in what ``loss_fn``, the hooks and the
forward methods name: closures, globals, defaults, ``self``.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from inspect import getattr_static
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

DEPTH = 3
"""Names from one thing to the next: ``loss_fn`` to a trainer, to its dict, to a network."""

WIDE = 64
"""Members of a container that are looked into; more are data."""

Holder = list[Any] | dict[Any, Any] | set[Any]
_HOLDERS = (list, dict, set, OrderedDict, defaultdict)
_FOREIGN = frozenset({"torch", "numpy", "lsmon", *sys.stdlib_module_names} - {"__main__"})
_INTERNAL = frozenset(nn.Module().__dict__)


@dataclass(frozen=True, slots=True)
class Reach:
    modules: list[nn.Module]
    """That are no part of the model, in the order in which they were found."""
    holders: list[Holder]


def reach(model: nn.Module, loss_fn: Any) -> Reach:
    """What is found in a few names' distance; each thing once.

    Of an object that is merely named the lists are its own affair: another thread may write to them meanwhile.
    """
    search = _Search(model)
    search.look(loss_fn, 0, owner=True)
    return Reach(search.modules, search.holders)


def talks(model: nn.Module, reached: Reach) -> str:
    """Why a forward pass would wait for the other processes of a training, which do not measure; empty where not."""

    def distributed(module: nn.Module) -> bool:
        return any(isinstance(part, nn.parallel.DistributedDataParallel) for part in module.modules())

    if distributed(model):
        return "a part of the model is in DistributedDataParallel, which talks to the other ranks; wrap the whole model"
    if any(map(distributed, reached.modules)):
        return (
            "loss_fn goes through DistributedDataParallel, which talks to the other ranks; "
            "call the model that it is given, and `.module` of another network"
        )
    return ""


class _Search:
    def __init__(self, model: nn.Module) -> None:
        self.modules: list[nn.Module] = []
        self.holders: list[Holder] = []
        self._seen: set[int] = set()
        self._enter(model)

    def look(self, thing: Any, depth: int, *, written: bool = True, owner: bool = False) -> None:
        """``written``: what it holds is put back. ``owner``: it is the ``self`` of a function that runs."""
        if depth > DEPTH or id(thing) in self._seen or isinstance(thing, Tensor | type | ModuleType | str):
            return
        self._seen.add(id(thing))
        if isinstance(thing, nn.Module):
            self.modules.append(thing)
            self._enter(thing)
            return
        if type(thing) in _HOLDERS and written:
            self.holders.append(thing)
        passes = isinstance(thing, (partial, MethodType, FunctionType, tuple)) or type(thing) in _HOLDERS
        for each in _parts(thing):
            self.look(
                each, depth + 1, written=written and (passes or owner), owner=isinstance(thing, MethodType)
            )

    def _enter(self, module: nn.Module) -> None:
        parts = [part for part in module.modules() if part is module or id(part) not in self._seen]
        self._seen.update(map(id, parts))  # all of them first: an attribute may be a part of another
        for part in parts:
            if isinstance(part, torch.jit.ScriptModule):  # it keeps the module that it was compiled from
                continue
            for name, value in vars(part).items():
                if name not in _INTERNAL:
                    self.look(value, DEPTH - 1)
            for hooks in (part._forward_hooks, part._forward_pre_hooks):
                for hook in hooks.values():
                    self.look(hook, 0, owner=True)
        for kind in {type(part): None for part in parts}:
            if not _foreign(kind):
                self.look(getattr_static(kind, "forward"), 0)


def _parts(thing: Any) -> Iterable[Any]:
    if isinstance(thing, partial):
        return (thing.func, *thing.args, *thing.keywords.values())
    if isinstance(thing, MethodType):
        return (thing.__func__, thing.__self__)
    if isinstance(thing, FunctionType):
        return () if _foreign(thing) else _named(thing)
    if type(thing) in _HOLDERS or isinstance(thing, tuple):
        members = thing.values() if isinstance(thing, dict) else thing
        return () if len(thing) > WIDE else tuple(members)
    try:
        return () if _foreign(type(thing)) else tuple(vars(thing).values())
    except TypeError:  # it has none
        return ()


def _foreign(thing: Any) -> bool:
    """Of a library whose insides are not for us."""
    return str(getattr(thing, "__module__", None)).partition(".")[0] in _FOREIGN


def _named(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it has not been filled yet
            continue
    names = set(_names(function.__code__))
    yield from (value for name, value in function.__globals__.items() if name in names)
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()


def _names(code: CodeType) -> Iterator[str]:
    """Also of functions inside."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names(const)
