"""What a thing is made of, as far as a loss may reach through it: the members of a container or an object, what a function
names."""

from __future__ import annotations

import argparse
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from functools import partial
from inspect import getattr_static
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

from .names import used
from .place import MISSING, Attributes, Place
from .trained import trained

WIDE = 64
"""Members of a container that are looked into; more are data, if they are no parameters."""

Holder = list[Any] | dict[Any, Any] | set[Any] | deque[Any]
HOLDERS = (list, dict, set, OrderedDict, defaultdict, Counter, deque)
_FOREIGN = frozenset({"torch", "numpy", "lsmon", *sys.stdlib_module_names} - {"__main__"})


def standing(holders: Iterable[Holder], places: Iterable[Place]) -> list[Holder]:
    """These, and those that stand in the places now: a loop may begin a list anew at every step."""
    now = [value for place in places if type(value := place.get()) in HOLDERS]
    return list({id(holder): holder for holder in (*holders, *now)}.values())


def parts(thing: Any) -> Iterable[tuple[Place | None, Any]]:
    """What it is made of, each with the place where it stands, if that can be written to."""
    if isinstance(thing, partial):
        named = [(Place(thing.keywords, name), part) for name, part in thing.keywords.items()]
        return [*((None, part) for part in (thing.func, *thing.args)), *named]
    if isinstance(thing, MethodType):
        return ((None, thing.__func__), (None, thing.__self__))
    if isinstance(thing, FunctionType):
        return () if foreign(thing) else _named(thing)
    if isinstance(thing, (set, tuple)):
        return () if len(thing) > WIDE else tuple((None, each) for each in thing)
    if type(thing) in HOLDERS:
        if len(thing) > WIDE and not trained(
            next(iter(thing.values() if isinstance(thing, dict) else thing))
        ):
            return ()
        members = list(thing.items()) if isinstance(thing, dict) else list(enumerate(thing))
        return tuple((Place(thing, key), each) for key, each in members)
    members = _members(thing)
    # An instance that is called runs its class's code.
    call = getattr_static(type(thing), "__call__", None) if members else None
    return [*members, (None, call)] if isinstance(call, FunctionType) else members


def _members(thing: Any) -> list[tuple[Place | None, Any]]:
    if foreign(type(thing)):
        return []
    own = getattr(thing, "__dict__", {})
    members: list[tuple[Place | None, Any]] = (
        [(Place(own, name), each) for name, each in own.items()] if isinstance(own, dict) else []
    )
    slots = Attributes(thing)
    for kind in type(thing).__mro__:
        names = vars(kind).get("__slots__", ())
        places = [Place(slots, name) for name in ((names,) if isinstance(names, str) else names)]
        members += [
            (place, each)
            for place in places
            if not place.key.startswith("__") and (each := place.get()) is not MISSING
        ]
    return members


def function_of(thing: Any) -> FunctionType | None:
    """Of a method, whatever its kind."""
    if isinstance(thing, property):
        thing = thing.fget
    if isinstance(thing, (staticmethod, classmethod)):
        thing = thing.__func__
    return thing if isinstance(thing, FunctionType) else None


def foreign(thing: Any) -> bool:
    """Of a library whose insides are not for us."""
    if thing is SimpleNamespace or thing is argparse.Namespace:
        return False
    return str(getattr(thing, "__module__", None)).partition(".")[0] in _FOREIGN


def _named(function: FunctionType) -> Iterator[tuple[Place | None, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield Place(cell, name), cell.cell_contents
        except ValueError:  # it has not been filled yet
            continue
    names = used(function.__code__)
    of_all = function.__globals__
    yield from ((Place(of_all, name), value) for name, value in of_all.items() if name in names)
    yield from ((None, value) for value in function.__defaults__ or ())
    yield from ((None, value) for value in (function.__kwdefaults__ or {}).values())
