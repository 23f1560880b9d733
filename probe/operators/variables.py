"""What a loss reads and writes besides the tensors of networks: numbers, small tensors and arrays, random generators.

A weight that the loop raises from step to step, a counter of calls, a running mean in a closure: in a measurement they
are as they were at its step, and the loop finds them as it left them.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import CellType
from typing import Any, NamedTuple

import torch

SMALL = 1 << 16
"""Numbers in a tensor or an array up to which it is copied for each evaluation; more are data."""

_NUMBERS = (int, float, complex)
_MISSING = object()


class Place(NamedTuple):
    """Where a value stands: under a key of a dict or a list, or in the cell of a closure."""

    holder: Any
    key: Any = None

    def get(self) -> Any:
        try:
            return self.holder.cell_contents if isinstance(self.holder, CellType) else self.holder[self.key]
        except (KeyError, IndexError, ValueError):
            return _MISSING

    def put(self, value: Any) -> None:
        if isinstance(self.holder, CellType):
            self.holder.cell_contents = value
        else:
            self.holder[self.key] = value


def varies(value: Any) -> bool:
    """Whether it is of a kind that is kept: no flag, which a signal handler may raise at any moment."""
    if type(value) in _NUMBERS:
        return True
    if type(value) is torch.Tensor:
        return value.numel() <= SMALL and not value.requires_grad
    return _is_array(value) and value.size <= SMALL and value.dtype != object


def draws(value: Any) -> bool:
    """Whether it is a random generator of the loop's own."""
    return _stream(value) is not None


class Variables:
    """As they are when this is made."""

    def __init__(self, places: Iterable[Place], generators: Iterable[Any]) -> None:
        self._then: list[tuple[Place, Any]] = []
        copies: dict[int, Any] = {}
        for place in places:
            value = place.get()
            if varies(value):
                self._then.append((place, _copied(value, copies)))
        self._streams = [stream for each in generators if (stream := _stream(each)) is not None]
        self._states = [read() for read, _ in self._streams]

    @contextmanager
    def as_then(self) -> Iterator[None]:
        """Copies of what they were; afterwards what is there now, whatever was written meanwhile."""
        now: list[tuple[Place, Any]] = []
        states = [read() for read, _ in self._streams]
        copies: dict[int, Any] = {}
        try:
            for place, then in self._then:
                value = place.get()
                if type(value) is type(then) or (type(value) in _NUMBERS and type(then) in _NUMBERS):
                    now.append((place, value))
                    place.put(_copied(then, copies))
            for (_, write), state in zip(self._streams, self._states, strict=True):
                write(state)
            yield
        finally:
            for place, value in now:
                if place.get() is not value:
                    place.put(value)
            for (_, write), state in zip(self._streams, states, strict=True):
                write(state)


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """One copy of a thing, however many places it has."""
    if type(value) in _NUMBERS:
        return value
    if id(value) not in copies:
        copies[id(value)] = value.clone() if isinstance(value, torch.Tensor) else value.copy()
    return copies[id(value)]


def _is_array(value: Any) -> bool:
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray


def _stream(value: Any) -> tuple[Callable[[], Any], Callable[[Any], object]] | None:
    """How the state of a generator is read, and written."""
    if isinstance(value, torch.Generator):
        return value.get_state, value.set_state
    if isinstance(value, random.Random):
        return value.getstate, value.setstate
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None and isinstance(value, numpy.RandomState):
        return value.get_state, value.set_state
    if numpy is not None and isinstance(value, numpy.Generator):
        bits = value.bit_generator
        return (lambda: deepcopy(bits.state)), (lambda state: setattr(bits, "state", state))
    return None
