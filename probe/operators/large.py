"""Large tensors and arrays that a loss names: data as a rule, which it reads, and now and then a memory that it writes to
(a queue of keys, a bank of features, a loss for every example).

A copy for every evaluation would cost more than the evaluation. So one is made before the first evaluation alone, and
what was written then is held like the small ones from there on.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from typing import Any

import torch

from lsmon.protocol.counts import grouped

from ..arrays import is_array
from .place import Place

SMALL = 1 << 16
"""Numbers in a tensor or an array up to which it is copied for each evaluation."""

HUGE = 1 << 30
"""Bytes from which on no copy is made before it is known to be written to: the memory may be the training's."""


class Overwritten(RuntimeError):
    """What was taken for data has been written to, and there is no copy of what it was."""


class Large:
    """One of them, in all the places that it has."""

    def __init__(self, value: Any, places: Sequence[Place]) -> None:
        self.value, self.places = value, places
        self._now: list[tuple[Place, Any]] = []
        self._lent: Any = None
        self._version: int | None = None

    def begin(self) -> None:
        """Before an evaluation, which gets a copy where it is not known that it only reads."""
        spared = _verdict(self.value) is False or self.value.nbytes > HUGE
        self._lent = self.value if spared else _copied(self.value)
        self._version = _version(self._lent)
        for place in self.places:
            now = place.get()
            if type(now) is type(self.value):
                self._now.append((place, now))
                place.put(self._lent)

    def end(self, *, finished: bool) -> Any:
        """After it: what is in the places now is back. Where it was written to, a copy of what it was, else None;
        an evaluation that was not ``finished`` might have written yet.

        Raises Overwritten where there is none.
        """
        for place, now in self._now:
            if place.get() is not now:
                place.put(now)
        lent, self._now, self._lent = self._lent, [], None
        if isinstance(lent, torch.Tensor):
            written = _version(lent) != self._version
        else:
            written = lent is not self.value and not _equal(lent, self.value)
        if written or (finished and lent is not self.value):
            _remember(self.value, written)
        if not written:
            return None
        if lent is self.value:
            raise Overwritten(
                f"loss_fn wrote to a tensor of {grouped(lent.numel())} numbers that it had only read before; "
                "from now on it is put back"
            )
        return _copied(self.value)


def is_large(value: Any) -> bool:
    """Whether it is a tensor or an array of which no copy is made for each evaluation."""
    if type(value) is torch.Tensor:
        return value.numel() > SMALL and not value.requires_grad and value.layout == torch.strided
    return is_array(value) and value.size > SMALL and value.dtype != object


def is_written(value: Any) -> bool:
    """Whether an evaluation has written to it."""
    return _verdict(value) is True


_known: dict[int, tuple[weakref.ref[Any], bool]] = {}
"""By id: whether it was written to in an evaluation. A weak dictionary would ask tensors whether they are equal."""


def _remember(value: Any, written: bool) -> None:
    number = id(value)
    _known[number] = weakref.ref(value, lambda _: _known.pop(number, None)), written


def _verdict(value: Any) -> bool | None:
    """Whether it was written to; None where no evaluation was seen to its end."""
    known = _known.get(id(value))
    return known[1] if known is not None and known[0]() is value else None


def _version(value: Any) -> int | None:
    """The number of writes to it, where they are counted."""
    return value._version if isinstance(value, torch.Tensor) and not value.is_inference() else None


def _copied(value: Any) -> Any:
    with torch.inference_mode(False):  # else writes to it would not be counted
        return value.detach().clone() if isinstance(value, torch.Tensor) else value.copy()


def _equal(one: Any, two: Any) -> bool:
    return bool(sys.modules["numpy"].array_equal(one, two, equal_nan=one.dtype.kind in "fc"))
