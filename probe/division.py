"""Whether a batch may be measured on in parts: not where the loss needs all of its examples at once.

A mean over examples, however they are weighted, lies among the means over parts of them. A loss that does not compares
examples with one another (contrastive), is a sum, or knows the batch by its size; on a part it would be another loss.
Nor does a mean over examples know their order. What does has something else in the first dimension (time, in batches of
sequences side by side), or an example for each place; every n-th of those is no part either.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .batches import interleaved, mapped
from .operators.copies import Changed
from .operators.ladder import words_of
from .operators.quiet import SEED
from .operators.snapshot import Snapshot
from .readings import Reading, read
from .reference import Reference
from .signals import heed
from .streams import streams
from .survey import plainly

PARTS, FEWEST = 8, 4
"""Most and fewest parts, each of two examples at least: one alone is no batch to many a model."""

SPREAD, APART = 4.0, 0.05
"""How far from the mean over the parts a loss is that is no mean: in their standard deviations, of which a mean over
examples is within 2.5 and one with random numbers in it within 4 in 99 of 100 cases, and relative to itself."""

ORDERS = (2, 3)
"""Every second, or third, example first: by one order alone a loss may chance to stay nearly as it is."""

ROUNDINGS = 16
"""Of the loss's own precision, single at best, that another order of examples may make, relative to the loss or to its
spread over the parts: it made one or two, at 40 layers too, and of an LSTM as it begins, to which all tokens are nearly
alike, with time first 10 to 300."""

TERMS = 0.1
"""A smaller loss may be what is left of terms of such a size (advantages, a critic's two means), and round as they do."""


class Division:
    """Twelve forward passes, four batches' worth: at most one for each time that ``settled`` is asked, so that no training
    step is long, or all of them ``at_once``. It tells once their losses have come from the device."""

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Callable[[Any, Any], Any],
        batch: Any,
        *,
        mixed: bool = False,
        at_once: bool = False,
    ) -> None:
        """``mixed``: layers normalise over the batch, so that its loss is never quite a mean."""
        self._model = model
        self._loss_fn = loss_fn
        self._mixed = mixed
        self._at_once = at_once
        self._again = False
        self._whole = Reference(thinnest=1)
        self._whole.offer(batch)
        self._whole.thinnest = None
        self._work = self._looking()
        self._found: _Found | None = None

    def settled(self, reference: Reference) -> bool:
        """Whether it is known; then ``reference`` knows it too."""
        while self._found is None:
            self._look()
            if self._found is None and not self._at_once:
                return False
        found = self._found
        if found.losses is not None:
            if not found.losses.ready():
                return False
            losses = found.losses.values()
            parts, (whole, *others) = losses[: found.parts], losses[found.parts :]
            if in_order(parts, whole, others, found.precision):
                found.remark = "on whole batches, since the loss depends on the order within one"
            if not self._mixed and no_mean(parts, whole):
                found.remark = "on whole batches, since the loss is not a mean over examples"
        reference.fewest = found.fewest
        if found.remark:
            reference.thinnest, reference.remark = 1, found.remark
        return True

    def _look(self) -> None:
        """One forward pass."""
        try:
            with plainly(self._model):
                next(self._work)
        except StopIteration as done:
            self._found = done.value or _Found()  # nothing of one that raised
        except Changed:
            # Between two steps, or it was found only now what the loss writes to; within one step, and knowing that, it
            # is nothing that yet another look would be spared.
            if self._again:
                self._found = _Found()
            self._at_once = self._again = True
            self._work = self._looking()

    def _looking(self) -> Generator[None, None, _Found]:
        whole, found = self._whole, _Found()
        parts = whole.chunks(max(2, math.ceil(whole.examples / PARTS)))
        if len(parts) < FEWEST:
            return found
        try:
            point = Snapshot(self._model, self._loss_fn, whole)
        except Exception:  # noqa: BLE001  what cannot be measured at all is told where it is tried
            return found
        in_parts = yield from _losses(point, parts)
        alone = (yield from _losses(point, [whole.first(1)])) if isinstance(in_parts, list) else None
        if isinstance(alone, Exception):
            found.fewest = 2
        at_once = yield from _losses(point, [whole])
        if isinstance(at_once, Exception):
            return found
        if isinstance(in_parts, Exception):
            said = words_of(in_parts, 80)
            found.remark = f"on whole batches, since a part of one is refused: {said}"
            return found
        others, found.precision = yield from _in_other_orders(point, whole)
        found.parts = len(in_parts)
        found.losses = read(torch.stack(in_parts + at_once + others))
        return found


@dataclass(slots=True)
class _Found:
    """What the forward passes gave."""

    remark: str = ""
    fewest: int = 1
    losses: Reading | None = None
    """Of the parts, of the whole, and of that in other orders."""
    parts: int = 0
    precision: float = 0.0


def no_mean(parts: list[float], whole: float) -> bool:
    """Whether the loss of the whole is out of reach of any weighting of the parts'.

    >>> no_mean([1.0, 1.2, 0.9, 1.1], 1.15), no_mean([1.0, 1.0, 1.0, 1.0], 4.0), no_mean([1.0, 1.0, 1.0, math.nan], 1.0)
    (False, True, False)
    """
    if not all(map(math.isfinite, [*parts, whole])):
        return False
    away = abs(whole - statistics.fmean(parts))
    return away > SPREAD * statistics.stdev(parts) and away > APART * abs(whole)


def in_order(
    parts: list[float], whole: float, others: list[float], precision: float = torch.finfo(torch.float32).eps
) -> bool:
    """Whether the loss of the whole is another in ``others``, where its examples are in other orders.

    >>> in_order([1.0, 1.2], 1.1, [1.1 + 1e-7, 1.1]), in_order([1.0, 1.2], 1.1, [1.1, 1.1001])
    (False, True)
    """
    if not all(map(math.isfinite, [*parts, whole, *others])):
        return False
    size = max(abs(whole), statistics.stdev(parts), TERMS)
    return any(abs(other - whole) > ROUNDINGS * precision * size for other in others)


def _in_other_orders(point: Snapshot, whole: Reference) -> Generator[None, None, tuple[list[Tensor], float]]:
    """The losses of the whole with its examples in other orders, and their precision; none where that would say nothing:
    each order meets other random numbers, or one is refused (sequences that must be sorted)."""
    single = torch.finfo(torch.float32).eps
    if point.draws:
        return [], single

    drawn = False

    def forward() -> list[Tensor]:
        nonlocal drawn
        before = streams(point.model)
        terms = list(point.terms())
        drawn = before is None or streams(point.model) != before
        return terms

    found: list[Tensor] = []
    precision = single
    for stride in ORDERS:
        point.batches = [mapped(partial(interleaved, stride=stride), batch) for batch in whole.batches]
        point.sizes = whole.sizes
        try:
            term = point.forwards(point.parameters, forward)[0]
        except Changed:
            raise
        except Exception as error:  # noqa: BLE001  a model may raise anything
            heed(error)
            return [], single
        if drawn:
            return [], single
        precision = max(precision, torch.finfo(term.dtype).eps)
        found.append(term.double())
        yield
    return found, precision


def _losses(point: Snapshot, parts: Iterable[Reference]) -> Generator[None, None, list[Tensor] | Exception]:
    """Of each, or what the first one raises that is refused. To all of them the same noise would be no mean over noise: of
    a diffusion each would have the times of the first examples."""
    found = []
    for number, part in enumerate(parts):
        point.batches, point.sizes, point.seed = part.batches, part.sizes, SEED + number
        try:
            found.append(point.loss(point.parameters).double())
        except Changed:
            raise
        except Exception as error:  # noqa: BLE001  a model may raise anything
            heed(error)
            return error.with_traceback(None)
        yield
    return found
