"""Whether a batch may be measured on in parts: not where the loss needs all of its examples at once.

A mean over examples, however they are weighted, lies among the means over parts of them. A loss that does not compares
examples with one another (contrastive), is a sum, or knows the batch by its size; on a part it would be another loss.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .operators.ladder import words_of
from .operators.snapshot import Snapshot
from .readings import Reading, read
from .reference import Reference
from .signals import heed
from .survey import plainly

PARTS, FEWEST = 8, 4
"""Most and fewest parts, each of two examples at least: one alone is no batch to many a model."""

SPREAD, APART = 4.0, 0.05
"""How far from the mean over the parts a loss is that is no mean: in their standard deviations, of which a mean over
examples is within 2.5 and one with random numbers in it within 4 in 99 of 100 cases, and relative to itself."""


class Division:
    """Ten forward passes, two batches' worth, by which ``settled`` tells once they have come from the device."""

    def __init__(
        self, model: nn.Module, loss_fn: Callable[[Any, Any], Any], batch: Any, *, mixed: bool = False
    ) -> None:
        """``mixed``: layers normalise over the batch, so that its loss is never quite a mean."""
        self._remark = ""
        self._fewest = 1
        self._losses: Reading | None = None
        whole = Reference(thinnest=1)
        whole.offer(batch)
        whole.thinnest = None
        parts = whole.chunks(max(2, math.ceil(whole.examples / PARTS)))
        if len(parts) < FEWEST:
            return
        with plainly(model):
            try:
                point = Snapshot(model, loss_fn, whole)
            except Exception:  # noqa: BLE001  what cannot be measured at all is told where it is tried
                return
            in_parts = _losses(point, parts)
            if isinstance(in_parts, list):
                if isinstance(_losses(point, [whole.first(1)]), Exception):
                    self._fewest = 2
                if mixed:
                    return
            at_once = _losses(point, [whole])
            if isinstance(at_once, Exception):
                return
            if isinstance(in_parts, Exception):
                said = words_of(in_parts, 80)
                self._remark = f"on whole batches, since a part of one is refused: {said}"
            else:
                self._losses = read(torch.stack(in_parts + at_once))

    def settled(self, reference: Reference) -> bool:
        """Whether it is known; then ``reference`` knows it too."""
        if self._losses is not None:
            if not self._losses.ready():
                return False
            *parts, whole = self._losses.values()
            if no_mean(parts, whole):
                self._remark = "on whole batches, since the loss is not a mean over examples"
        reference.fewest = self._fewest
        if self._remark:
            reference.thinnest, reference.remark = 1, self._remark
        return True


def no_mean(parts: list[float], whole: float) -> bool:
    """Whether the loss of the whole is out of reach of any weighting of the parts'.

    >>> no_mean([1.0, 1.2, 0.9, 1.1], 1.15), no_mean([1.0, 1.0, 1.0, 1.0], 4.0), no_mean([1.0, 1.0, 1.0, math.nan], 1.0)
    (False, True, False)
    """
    if not all(map(math.isfinite, [*parts, whole])):
        return False
    away = abs(whole - statistics.fmean(parts))
    return away > SPREAD * statistics.stdev(parts) and away > APART * abs(whole)


def _losses(point: Snapshot, parts: Iterable[Reference]) -> list[Tensor] | Exception:
    """Of each, or what the first one raises that is refused."""
    found = []
    for part in parts:
        point.batches, point.sizes = part.batches, part.sizes
        try:
            found.append(point.loss(point.parameters).double())
        except Exception as error:  # noqa: BLE001  a model may raise anything
            heed(error)
            return error.with_traceback(None)
    return found
