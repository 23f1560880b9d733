"""Tensors that are trained, where they stand besides in modules: a list of parameters that a penalty runs over, a
parameter of the loss's own (a temperature, a weight for each term).

A loss that reads them there would read the live ones: they have moved since, and nothing is differentiated to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .large import SMALL
from .place import Place


def trained(value: Any) -> bool:
    """Whether it is such a tensor, or a tuple with one in it."""
    if isinstance(value, Tensor):
        if is_lazy(value):
            return False
        return isinstance(value, nn.Parameter) or (
            type(value) is Tensor and value.requires_grad and value.is_leaf
        )
    return type(value) is tuple and any(map(trained, value))


class Trained:
    """What stands in these places now.

    Args:
        named: the tensors of modules, by their names.
    """

    def __init__(self, places: Iterable[Place], named: Mapping[str, Tensor]) -> None:
        self._stand = [(place, value) for place in places if trained(value := place.get())]
        self._names = {id(tensor): name for name, tensor in named.items()}
        self.loose: dict[str, Tensor] = {}
        """Those that are in no module, by names that none of it has."""
        for _, value in self._stand:
            for tensor in _tensors(value):
                if id(tensor) not in self._names and (tensor.requires_grad or tensor.numel() <= SMALL):
                    name = f"loose.{len(self.loose)}."
                    self._names[id(tensor)], self.loose[name] = name, tensor

    @contextmanager
    def instead(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """Meanwhile these are in their places."""
        lent: list[tuple[Place, Any, Any]] = []
        try:
            for place, value in self._stand:
                if place.get() is value and (other := self._exchanged(value, state)) is not value:
                    place.put(other)
                    lent.append((place, value, other))
            yield
        finally:
            for place, value, other in lent:
                if place.get() is other:
                    place.put(value)

    def _exchanged(self, value: Any, state: Mapping[str, Tensor]) -> Any:
        if isinstance(value, Tensor):
            return state.get(self._names.get(id(value), ""), value)
        if not trained(value):
            return value
        return tuple(self._exchanged(each, state) for each in value)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif trained(value):
        for each in value:
            yield from _tensors(each)
