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
from typing import Any

import torch

from ..arrays import is_array
from .large import SMALL, Large, Overwritten, is_large, is_written
from .place import MISSING, Place

_NUMBERS = (int, float, complex)


def varies(value: Any) -> bool:
    """Whether it is of a kind that is kept: no flag, which a signal handler may raise at any moment."""
    if type(value) in _NUMBERS or is_large(value):
        return True
    if type(value) is torch.Tensor:
        return value.numel() <= SMALL and not value.requires_grad
    return is_array(value) and value.size <= SMALL and value.dtype != object


def draws(value: Any) -> bool:
    """Whether it is a random generator of the loop's own."""
    return _stream(value) is not None


class Variables:
    """As they are when this is made.

    Args:
        doubtful: places of tensors and arrays that are copied for one evaluation, to see if it writes to them.
        bound: places of anything that is there again after an evaluation.
    """

    def __init__(
        self,
        places: Iterable[Place],
        generators: Iterable[Any],
        doubtful: Iterable[Place] = (),
        bound: Iterable[Place] = (),
    ) -> None:
        self._then: list[tuple[Place, Any]] = []
        copies: dict[int, Any] = {}
        large: dict[int, tuple[Any, list[Place]]] = {}
        for place, sure in [*((place, True) for place in places), *((place, False) for place in doubtful)]:
            value = place.get()
            if (is_large(value) or not sure) and not is_written(value):
                large.setdefault(id(value), (value, []))[1].append(place)
            elif varies(value):
                self._then.append((place, _copied(value, copies)))
        self._bound = list(bound)
        self._large = [Large(value, where) for value, where in large.values()]
        self._streams = [stream for each in generators if (stream := _stream(each)) is not None]
        self._states = [read() for read, _ in self._streams]

    @property
    def draws(self) -> bool:
        """Whether there are random generators among them."""
        return bool(self._streams)

    @contextmanager
    def as_then(self) -> Iterator[None]:
        """Copies of what they were; afterwards what is there now, whatever was written meanwhile.

        Raises Overwritten where that cannot be.
        """
        now = [(place, value) for place in self._bound if (value := place.get()) is not MISSING]
        lent: list[Large] = []
        finished = False
        states = [read() for read, _ in self._streams]
        copies: dict[int, Any] = {}
        try:
            for place, then in self._then:
                value = place.get()
                if type(value) is type(then) or (type(value) in _NUMBERS and type(then) in _NUMBERS):
                    now.append((place, value))
                    if (own := _copied(then, copies)) is not value:
                        place.put(own)
            for large in self._large:
                lent.append(large)
                large.begin()
            for (_, write), state in zip(self._streams, self._states, strict=True):
                write(state)
            yield
            finished = True
        finally:
            for place, value in now:
                if place.get() is not value:
                    place.put(value)
            for (_, write), state in zip(self._streams, states, strict=True):
                write(state)
            self._take_back(lent, finished)

    def _take_back(self, lent: list[Large], finished: bool) -> None:
        """What was written to is held like the small ones from now on."""
        trouble: list[Overwritten] = []
        for large in lent:
            try:
                then = large.end(finished=finished)
            except Overwritten as error:
                trouble.append(error)
                continue
            if then is not None:
                self._large.remove(large)
                self._then += [(place, then) for place in large.places]
        if trouble:
            raise trouble[0]


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """One copy of a thing, however many places it has."""
    if type(value) in _NUMBERS:
        return value
    if id(value) not in copies:
        copies[id(value)] = value.clone() if isinstance(value, torch.Tensor) else value.copy()
    return copies[id(value)]


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
