"""What a loss can reach besides its model's tensors: other networks, numbers, and lists and dicts that are written to.

Looked for where they stand as a rule: in the attributes of the modules, and in what ``loss_fn``, the hooks and the
forward methods name: closures, globals, defaults, ``self``.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from inspect import getattr_static
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from .place import Place
from .trained import trained
from .variables import draws, varies

DEPTH = 3
"""Names from one thing to the next: ``loss_fn`` to a trainer, to its dict, to a network."""

WIDE = 64
"""Members of a container that are looked into; more are data, if they are no parameters."""

Holder = list[Any] | dict[Any, Any] | set[Any] | deque[Any]
_HOLDERS = (list, dict, set, OrderedDict, defaultdict, Counter, deque)
_FOREIGN = frozenset({"torch", "numpy", "lsmon", *sys.stdlib_module_names} - {"__main__"})
_INTERNAL = frozenset(nn.Module().__dict__)


@dataclass(frozen=True, slots=True)
class Reach:
    modules: list[nn.Module]
    """That are no part of the model, in the order in which they were found."""
    holders: list[Holder]
    places: list[Place]
    """Of numbers, tensors and arrays."""
    generators: list[Any]
    """Random streams of the loop's own."""
    trained: list[Place]
    """Of parameters that stand besides in modules."""


def reach(model: nn.Module, loss_fn: Any) -> Reach:
    """What is found in a few names' distance; each thing once.

    Of an object that is merely named the lists and numbers are its own affair: another thread may write to them meanwhile.
    """
    search = _Search(model)
    search.look(loss_fn, 0, owner=True)
    return Reach(search.modules, search.holders, search.places, search.generators, search.trained)


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
        self.places: list[Place] = []
        self.generators: list[Any] = []
        self.trained: list[Place] = []
        self._seen: set[int] = set()
        for hooks in _GLOBAL_HOOKS:
            for hook in hooks.values():
                self.look(hook, 0, owner=True)
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
        if draws(thing) and written:
            self.generators.append(thing)
            return
        if type(thing) in _HOLDERS and written:
            self.holders.append(thing)
        passes = isinstance(thing, (partial, MethodType, FunctionType, tuple)) or type(thing) in _HOLDERS
        for place, each in _parts(thing):
            inner = written and (passes or owner)
            if place is not None and trained(each):
                self.trained.append(place)
            if varies(each):
                if inner and place is not None:
                    self.places.append(place)
            else:
                self.look(each, depth + 1, written=inner, owner=isinstance(thing, MethodType))

    def _enter(self, module: nn.Module) -> None:
        parts = [part for part in module.modules() if part is module or id(part) not in self._seen]
        self._seen.update(map(id, parts))  # all of them first: an attribute may be a part of another
        for part in parts:
            if isinstance(part, torch.jit.ScriptModule):  # it keeps the module that it was compiled from
                continue
            for name, value in vars(part).items():
                if name in _INTERNAL:
                    continue
                if trained(value):
                    self.trained.append(Place(vars(part), name))
                if varies(value):
                    self.places.append(Place(vars(part), name))
                else:
                    self.look(value, DEPTH - 1)
            for hooks in _hooks(part):
                for hook in hooks.values():
                    self.look(hook, 0, owner=True)
        for kind in {type(part): None for part in parts}:
            if not _foreign(kind):
                self.look(getattr_static(kind, "forward"), 0)


_GLOBAL_HOOKS: tuple[dict[int, Any], ...] = tuple(
    getattr(nn.modules.module, f"_global_{kind}_hooks")
    for kind in ("forward", "forward_pre", "backward", "backward_pre")
)


def _hooks(module: nn.Module) -> Iterable[dict[int, Any]]:
    return (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )


def _parts(thing: Any) -> Iterable[tuple[Place | None, Any]]:
    """What it is made of, each with the place where it stands, if that can be written to."""
    if isinstance(thing, partial):
        named = [(Place(thing.keywords, name), part) for name, part in thing.keywords.items()]
        return [*((None, part) for part in (thing.func, *thing.args)), *named]
    if isinstance(thing, MethodType):
        return ((None, thing.__func__), (None, thing.__self__))
    if isinstance(thing, FunctionType):
        return () if _foreign(thing) else _named(thing)
    if isinstance(thing, (set, tuple)):
        return () if len(thing) > WIDE else tuple((None, each) for each in thing)
    if type(thing) in _HOLDERS:
        if len(thing) > WIDE and not trained(
            next(iter(thing.values() if isinstance(thing, dict) else thing))
        ):
            return ()
        members = list(thing.items()) if isinstance(thing, dict) else list(enumerate(thing))
        return tuple((Place(thing, key), each) for key, each in members)
    try:
        own = {} if _foreign(type(thing)) else vars(thing)
    except TypeError:  # it has none
        return ()
    if not isinstance(own, dict):
        return ()
    # An instance that is called runs its class's code.
    call = getattr_static(type(thing), "__call__", None) if own else None
    members = [(Place(own, name), each) for name, each in own.items()]
    return [*members, (None, call)] if isinstance(call, FunctionType) else members


def _foreign(thing: Any) -> bool:
    """Of a library whose insides are not for us."""
    return str(getattr(thing, "__module__", None)).partition(".")[0] in _FOREIGN


def _named(function: FunctionType) -> Iterator[tuple[Place | None, Any]]:
    for cell in function.__closure__ or ():
        try:
            yield Place(cell), cell.cell_contents
        except ValueError:  # it has not been filled yet
            continue
    names = set(_names(function.__code__))
    of_all = function.__globals__
    yield from ((Place(of_all, name), value) for name, value in of_all.items() if name in names)
    yield from ((None, value) for value in function.__defaults__ or ())
    yield from ((None, value) for value in (function.__kwdefaults__ or {}).values())


def _names(code: CodeType) -> Iterator[str]:
    """Also of functions inside."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names(const)
