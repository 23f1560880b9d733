"""What a loss can reach besides its model's tensors: other networks, numbers, and lists and dicts that are written to.

Looked for where they stand as a rule: in the attributes of the modules, and in what ``loss_fn``, the hooks, the forward
methods and the methods that these call name: closures, globals, defaults, ``self``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from inspect import getattr_static
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ..arrays import is_array
from .names import stored, used
from .parts import HOLDERS, Holder, foreign, function_of, parts
from .place import Attributes, Place
from .trained import trained
from .variables import draws, varies

DEPTH = 3
"""Names from one thing to the next: ``loss_fn`` to a trainer, to its dict, to a network."""

_INTERNAL = frozenset(nn.Module().__dict__)


@dataclass(frozen=True, slots=True)
class Reach:
    modules: list[nn.Module]
    """That are no part of the model, in the order in which they were found."""
    holders: list[Holder]
    held: list[Place]
    """Where they stand, that may be other ones by the next evaluation."""
    places: list[Place]
    """Of numbers, tensors and arrays."""
    doubtful: list[Place]
    """Of tensors and arrays that are data as a rule."""
    generators: list[Any]
    """Random streams of the loop's own."""
    trained: list[Place]
    """Of parameters that stand besides in modules."""
    bound: list[Place]
    """To which something else is bound on the way: a hidden state of two tensors, a first one where there was none."""


def reach(model: nn.Module, loss_fn: Any) -> Reach:
    """What is found in a few names' distance; each thing once.

    Of an object that is merely named the lists and numbers are its own affair, since another thread may write to them
    meanwhile; but for the numbers that the functions found here store, and the generators that they name.
    """
    search = _Search(model)
    search.look(loss_fn, 0, owner=True)
    search.look_into_methods()
    doubtful, bound = search.settle()
    return Reach(
        modules=search.modules,
        holders=search.holders,
        held=search.held,
        places=search.places,
        doubtful=doubtful,
        generators=search.generators,
        trained=search.trained,
        bound=bound,
    )


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
        self.held: list[Place] = []
        self.places: list[Place] = []
        self.generators: list[Any] = []
        self.trained: list[Place] = []
        self._seen: set[int] = set()
        self._used: set[str] = set()
        self._stored: set[str] = set()
        self._kinds: dict[type, int] = {}
        """Classes of what was found, with its distance."""
        self._named: list[tuple[Place, Any]] = []
        """Members of what is merely named."""
        self._bound: list[Place] = []
        """Attributes, globals and variables of functions whose values are of no kind that is kept."""
        for hooks in _GLOBAL_HOOKS:
            for hook in hooks.values():
                self.look(hook, 0, owner=True)
        self._enter(model)

    def look(self, thing: Any, depth: int, *, written: bool = True, owner: bool = False) -> None:
        """``written``: what it holds is put back. ``owner``: it is the ``self`` of a function that runs."""
        if depth > DEPTH or id(thing) in self._seen or isinstance(thing, Tensor | ModuleType | str):
            return
        if isinstance(thing, type):
            self._meet(thing, depth)
            return
        self._seen.add(id(thing))
        self._read(thing)
        if isinstance(thing, nn.Module):
            self.modules.append(thing)
            self._enter(thing)
            return
        if draws(thing) and written:
            self.generators.append(thing)
            return
        holds: bool = type(thing) in HOLDERS
        if holds and written:
            self.holders.append(thing)
        passes = isinstance(thing, (partial, MethodType, FunctionType, tuple)) or holds
        if not passes:
            self._meet(type(thing), depth)
        for place, each in parts(thing):
            inner = written and (passes or owner)
            if not inner and not passes and place is not None:
                self._named.append((place, each))
            if place is not None and trained(each):
                self.trained.append(place)
            if varies(each):
                if inner and place is not None:
                    self.places.append(place)
            else:
                if place is not None and type(thing) not in HOLDERS and type(each) is not bool:
                    self._bound.append(place)  # but a flag, which a signal handler may raise at any moment
                if inner and place is not None and type(each) in HOLDERS:
                    self.held.append(place)
                self.look(each, depth + 1, written=inner, owner=isinstance(thing, MethodType))

    def _enter(self, module: nn.Module) -> None:
        inside = [part for part in module.modules() if part is module or id(part) not in self._seen]
        self._seen.update(map(id, inside))  # all of them first: an attribute may be a part of another
        for part in inside:
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
                    if type(value) in HOLDERS:
                        self.held.append(Place(vars(part), name))
                    self.look(value, DEPTH - 1)
            for hooks in _hooks(part):
                for hook in hooks.values():
                    self.look(hook, 0, owner=True)
        for kind in {type(part): None for part in inside}:
            if not foreign(kind):
                self.look(getattr_static(kind, "forward"), 0)
                self._meet(kind, 0)

    def _read(self, thing: Any) -> None:
        if isinstance(thing, FunctionType) and not foreign(thing):
            self._used |= used(thing.__code__)
            self._stored |= stored(thing.__code__)

    def _meet(self, kind: type, depth: int) -> None:
        if not foreign(kind):
            self._kinds.setdefault(kind, depth)

    def look_into_methods(self) -> None:
        """Those that are called by a name which the functions found so far use, as ``meter.update(loss)``."""
        known = -1
        while known != len(self._seen):
            known = len(self._seen)
            for kind, depth in list(self._kinds.items()):
                for part in kind.__mro__:
                    if foreign(part):
                        continue
                    for name in sorted(self._used & vars(part).keys()):
                        method = function_of(vars(part)[name])
                        if method is not None and "site-packages" not in method.__code__.co_filename:
                            self.look(method, depth)

    def settle(self) -> tuple[list[Place], list[Place]]:
        """What these functions may write to of what is merely named, and what they bind anew anywhere."""
        doubtful = []
        for kind in self._kinds:
            own, names = Attributes(kind), (self._stored | self._used) & vars(kind).keys()
            self._named += [(Place(own, name), vars(kind)[name]) for name in sorted(names)]
        for place, value in self._named:
            if varies(value) and place.key in self._stored:
                self.places.append(place)
            elif place.key in self._used:
                if draws(value) and not any(value is other for other in self.generators):
                    self.generators.append(value)
                elif varies(value) and (is_array(value) or getattr(value, "layout", None) == torch.strided):
                    doubtful.append(place)
        return doubtful, [place for place in self._bound if place.key in self._stored]


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
